// The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says.
//
//	TOKEN_URL=… CLIENT_ID=… CLIENT_SECRET=… go run ./example 127.0.0.1:50054 weekly
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	leaderboardv1 "topten.internal/stubs/topten/leaderboard/v1"
)

// The first call also connects, so its deadline is generous; the calls of a service that is warm do with 2 s.
const deadline = 30 * time.Second

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

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: example ADDRESS BOARD")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(address, board string) error {
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(&serviceToken{}))
	if err != nil {
		return err
	}
	defer connection.Close()
	leaderboard := leaderboardv1.NewLeaderboardServiceClient(connection)

	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	head, err := leaderboard.GetLeaderboard(ctx, &leaderboardv1.GetLeaderboardRequest{Board: board, Limit: 10})
	if err != nil {
		return err
	}
	for _, entry := range head.GetFrame().GetEntries() {
		fmt.Println(entry.GetRank(), entry.GetUsername(), entry.GetScore())
	}

	// A stream has no deadline and lasts until its context ends.
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	frames, err := leaderboard.WatchLeaderboard(watching, &leaderboardv1.WatchLeaderboardRequest{Board: board})
	if err != nil {
		return err
	}
	first, err := frames.Recv()
	if err != nil {
		return err
	}
	frame := first.GetFrame()
	fmt.Printf("frame of %s with %d entries\n", frame.GetBoard(), len(frame.GetEntries()))
	stop()

	wrong, done := context.WithTimeout(context.Background(), deadline)
	defer done()
	_, err = leaderboard.GetLeaderboard(wrong, &leaderboardv1.GetLeaderboardRequest{Board: "no such board"})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println("refused:", info.GetReason())
			return nil
		}
	}
	return err // no answer of Topten's: the network, or a proxy
}
