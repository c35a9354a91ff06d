// The first calls: the head of a board, a frame of its stream, and what a refusal says.
//
//	TOPTEN_TOKEN=<access token> go run ./example 127.0.0.1:50054 weekly
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	leaderboardv1 "topten.internal/stubs/topten/leaderboard/v1"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: example ADDRESS BOARD")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(address, board string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	leaderboard := leaderboardv1.NewLeaderboardServiceClient(connection)
	authorized := metadata.AppendToOutgoingContext(
		context.Background(), "authorization", "Bearer "+os.Getenv("TOPTEN_TOKEN"))

	ctx, cancel := context.WithTimeout(authorized, 2*time.Second)
	defer cancel()
	head, err := leaderboard.GetLeaderboard(ctx, &leaderboardv1.GetLeaderboardRequest{Board: board, Limit: 10})
	if err != nil {
		return err
	}
	for _, entry := range head.GetFrame().GetEntries() {
		fmt.Println(entry.GetRank(), entry.GetUsername(), entry.GetScore())
	}

	// A stream has no deadline and lasts until its context ends.
	watching, stop := context.WithCancel(authorized)
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

	_, err = leaderboard.GetLeaderboard(ctx, &leaderboardv1.GetLeaderboardRequest{Board: "no such board"})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println("refused:", info.GetReason())
			return nil
		}
	}
	return err // no answer of Topten's: the network, or a proxy
}
