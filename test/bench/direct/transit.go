package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// idleConnections is how many connections to Vault are kept. Go's own default, two for a host, would
// make a new one for most calls of a storm.
const idleConnections = 128

// transit is one key of a Transit mount, over Vault's HTTP API.
type transit struct {
	client *http.Client
	base   *url.URL
	token  string
	mount  string
	key    string
}

func newTransit(address, tokenFile, mount, key string) (*transit, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("-vault: %w", err)
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, fmt.Errorf("-token-file: %w", err)
	}
	pool := http.DefaultTransport.(*http.Transport).Clone()
	pool.MaxIdleConns, pool.MaxIdleConnsPerHost = idleConnections, idleConnections
	return &transit{&http.Client{Transport: pool}, base, strings.TrimSpace(string(token)), mount, key}, nil
}

// call makes one request; body is nil for a GET. The `data` of the answer goes to data.
func (t *transit) call(ctx context.Context, operation string, body, data any) error {
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		method, content = http.MethodPost, bytes.NewReader(encoded)
	}
	path := t.base.JoinPath("v1", t.mount, operation, t.key).String()
	request, err := http.NewRequestWithContext(ctx, method, path, content)
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", t.token)
	request.Header.Set("X-Vault-Request", "true")
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", operation, response.StatusCode)
	}
	return json.Unmarshal(answer, &struct {
		Data any `json:"data"`
	}{data})
}

func (t *transit) latestVersion(ctx context.Context) (int, error) {
	var data struct {
		LatestVersion int `json:"latest_version"`
	}
	err := t.call(ctx, "keys", nil, &data)
	return data.LatestVersion, err
}

// encoding/json writes bytes in base64, as Transit wants a plaintext.
type plain struct {
	Plaintext []byte `json:"plaintext"`
}

type sealed struct {
	Ciphertext string `json:"ciphertext"`
}

func (t *transit) encrypt(ctx context.Context, plaintext []byte) ([]byte, error) {
	var data sealed
	err := t.call(ctx, "encrypt", plain{plaintext}, &data)
	return []byte(data.Ciphertext), err
}

func (t *transit) decrypt(ctx context.Context, ciphertext []byte) ([]byte, error) {
	var data plain
	err := t.call(ctx, "decrypt", sealed{string(ciphertext)}, &data)
	return data.Plaintext, err
}
