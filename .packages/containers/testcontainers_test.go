package client_test

import (
	"net/http"
	"testing"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// The image's health check says when the server is ready: it runs
// "openhands-local ready" in the container.
func TestClient(t *testing.T) {
	openhands, err := testcontainers.Run(t.Context(), "openhands-local:latest",
		testcontainers.WithCmd("--no-key", "--data", "memory"),
		testcontainers.WithExposedPorts("3000/tcp"),
		testcontainers.WithWaitStrategy(wait.ForHealthCheck()))
	testcontainers.CleanupContainer(t, openhands)
	if err != nil {
		t.Fatal(err)
	}
	url, err := openhands.PortEndpoint(t.Context(), "3000/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/_local/reset", "", nil) // between tests
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
