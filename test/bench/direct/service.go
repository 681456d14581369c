package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kms "k8s.io/kms/apis/v2"
)

// service answers kube-apiserver. Its key_id is the key's name with its latest version.
type service struct {
	kms.UnimplementedKeyManagementServiceServer
	transit *transit
}

func (s *service) keyID(version int) string {
	return fmt.Sprintf("%s:v%d", s.transit.key, version)
}

// fail keeps Vault's words, which may name paths, out of what kube-apiserver's users read.
func fail(ctx context.Context, what string) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(codes.Unavailable, what)
}

// Encrypt makes two requests to Vault: the version first, so that a rotation in between is seen by
// kube-apiserver as a key_id that is too old, and never as one that is too new.
func (s *service) Encrypt(ctx context.Context, request *kms.EncryptRequest) (*kms.EncryptResponse, error) {
	version, err := s.transit.latestVersion(ctx)
	if err != nil {
		return nil, fail(ctx, "the key cannot be read")
	}
	ciphertext, err := s.transit.encrypt(ctx, request.Plaintext)
	if err != nil {
		return nil, fail(ctx, "the plaintext cannot be encrypted")
	}
	return &kms.EncryptResponse{Ciphertext: ciphertext, KeyId: s.keyID(version)}, nil
}

// Decrypt makes one request to Vault.
func (s *service) Decrypt(ctx context.Context, request *kms.DecryptRequest) (*kms.DecryptResponse, error) {
	plaintext, err := s.transit.decrypt(ctx, request.Ciphertext)
	if err != nil {
		return nil, fail(ctx, "the ciphertext cannot be decrypted")
	}
	return &kms.DecryptResponse{Plaintext: plaintext}, nil
}

// Status makes four requests to Vault: it tries the key both ways, as an Encrypt and a Decrypt, and
// reads its version.
func (s *service) Status(ctx context.Context, _ *kms.StatusRequest) (*kms.StatusResponse, error) {
	probe := make([]byte, 32)
	if _, err := rand.Read(probe); err != nil {
		return nil, err
	}
	encrypted, err := s.Encrypt(ctx, &kms.EncryptRequest{Plaintext: probe})
	if err != nil {
		return nil, err
	}
	decrypted, err := s.Decrypt(ctx, &kms.DecryptRequest{Ciphertext: encrypted.Ciphertext})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(decrypted.Plaintext, probe) {
		return nil, status.Error(codes.Internal, "the key does not decrypt what it has encrypted")
	}
	version, err := s.transit.latestVersion(ctx)
	if err != nil {
		return nil, fail(ctx, "the key cannot be read")
	}
	return &kms.StatusResponse{Version: "v2", Healthz: "ok", KeyId: s.keyID(version)}, nil
}
