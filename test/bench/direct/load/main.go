// grpc-load is a load on a KMS plugin's socket: so many calls at once for so long, and what became of
// them. It is made of grpc-go, as kube-apiserver is, and costs a fifth of what a client in Node.js does:
// on a machine that it shares with what is measured, little of the figures is its own.
//
//	grpc-load OPTIONS   with options as JSON; prints a result as JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

type options struct {
	// Socket is the path of the plugin's socket.
	Socket string `json:"socket"`
	// Path is /v2.KeyManagementService/Decrypt and so on.
	Path string `json:"path"`
	// Bodies is a JSON file: serialized requests in base64, taken in turn.
	Bodies      string  `json:"bodies"`
	Concurrency int     `json:"concurrency"`
	Seconds     float64 `json:"seconds"`
}

// result has times in milliseconds, of the calls that were answered.
type result struct {
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	Calls     int     `json:"calls"`
	Failed    int     `json:"failed"`
}

const (
	callsPerConnection = 512
	// What kube-apiserver gives a call where its configuration says nothing.
	timeout = 3 * time.Second
)

// raw sends a request as it is, and leaves the reply unread.
type raw struct{}

func (raw) Name() string { return "raw" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = raw{}

func measure(load options) (result, error) {
	text, err := os.ReadFile(load.Bodies)
	if err != nil {
		return result{}, err
	}
	var bodies [][]byte
	if err := json.Unmarshal(text, &bodies); err != nil {
		return result{}, fmt.Errorf("%s: %w", load.Bodies, err)
	}
	connections := make([]*grpc.ClientConn, (load.Concurrency+callsPerConnection-1)/callsPerConnection)
	for i := range connections {
		connection, err := grpc.NewClient("unix:"+load.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return result{}, err
		}
		defer connection.Close()
		connections[i] = connection
	}

	var turn atomic.Uint64
	var workers sync.WaitGroup
	times := make([][]float64, load.Concurrency)
	failed := make([]int, load.Concurrency)
	began := time.Now()
	end := began.Add(time.Duration(load.Seconds * float64(time.Second)))
	for i := range load.Concurrency {
		connection := connections[i%len(connections)]
		workers.Go(func() {
			for time.Now().Before(end) {
				body := bodies[turn.Add(1)%uint64(len(bodies))]
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				at := time.Now()
				err := connection.Invoke(ctx, load.Path, body, nil, grpc.ForceCodecV2(raw{}))
				cancel()
				if err != nil {
					failed[i]++
					continue
				}
				times[i] = append(times[i], float64(time.Since(at).Microseconds())/1000)
			}
		})
	}
	workers.Wait()
	took := time.Since(began).Seconds()

	answered := slices.Concat(times...)
	slices.Sort(answered)
	at := func(share float64) float64 {
		if len(answered) == 0 {
			return 0
		}
		return answered[min(len(answered)-1, int(float64(len(answered))*share))]
	}
	sum := 0
	for _, count := range failed {
		sum += count
	}
	return result{
		PerSecond: float64(len(answered)) / took,
		P50:       at(0.5), P99: at(0.99),
		Calls: len(answered) + sum, Failed: sum,
	}, nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: grpc-load OPTIONS (JSON)")
	}
	var load options
	if err := json.Unmarshal([]byte(os.Args[1]), &load); err != nil {
		log.Fatal(err)
	}
	found, err := measure(load)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
