// Package service connects to processes of Topten, with the token of this service in every call.
package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Deadline is generous, because the first call also connects; the calls of a service that is warm do with 2 s.
const Deadline = 30 * time.Second

var current = &serviceToken{}

// Connect returns a connection that sends the token of this service.
func Connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(current))
}

// Reason returns the reason that Topten gave; empty if the failure is not Topten's: the network, or a proxy.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// serviceToken is the token of this service, renewed after 80 % of its lifetime. It goes with every call of a connection.
type serviceToken struct {
	mutex   sync.Mutex
	token   string
	renewAt time.Time
}

func (t *serviceToken) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if !time.Now().Before(t.renewAt) {
		if err := t.renew(ctx); err != nil {
			return nil, err
		}
	}
	return map[string]string{"authorization": "Bearer " + t.token}, nil
}

// RequireTransportSecurity is false for a system without TLS.
func (t *serviceToken) RequireTransportSecurity() bool { return false }

func (t *serviceToken) renew(ctx context.Context) error {
	body := strings.NewReader("grant_type=client_credentials")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("TOKEN_URL"), body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("no token: HTTP %s", response.Status)
	}
	var issued struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(response.Body).Decode(&issued); err != nil {
		return err
	}
	t.token = issued.AccessToken
	t.renewAt = time.Now().Add(time.Duration(issued.ExpiresIn) * time.Second * 8 / 10)
	return nil
}
