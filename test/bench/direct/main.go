// direct-plugin is the least that a Kubernetes KMS v2 plugin for Transit can be, as the Go plugins of
// the field are: one process on the node, grpc-go on a unix socket, a Vault token beside it, and a
// request of its own to Vault for each thing it has to know. For benchmarks only: it renews no token
// and knows one key.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	kms "k8s.io/kms/apis/v2"
)

func main() {
	socket := flag.String("socket", "", "path of the unix socket to listen on")
	address := flag.String("vault", "", "URL of Vault or OpenBao")
	tokenFile := flag.String("token-file", "", "file with the Vault token")
	mount := flag.String("mount", "transit", "mount of Transit")
	key := flag.String("key", "", "name of the Transit key")
	flag.Parse()

	transit, err := newTransit(*address, *tokenFile, *mount, *key)
	if err != nil {
		log.Fatal(err)
	}
	// What an earlier process may have left.
	if err := os.Remove(*socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	kms.RegisterKeyManagementServiceServer(server, &service{transit: transit})

	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		<-stopped.Done()
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
