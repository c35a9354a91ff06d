// The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says.
//
//	TOKEN_URL=… CLIENT_ID=… CLIENT_SECRET=… go run ./example 127.0.0.1:50054 weekly
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"topten.internal/stubs/example/service"
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
	connection, err := service.Connect(address)
	if err != nil {
		return err
	}
	defer connection.Close()
	leaderboard := leaderboardv1.NewLeaderboardServiceClient(connection)

	ctx, cancel := context.WithTimeout(context.Background(), service.Deadline)
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

	wrong, done := context.WithTimeout(context.Background(), service.Deadline)
	defer done()
	_, err = leaderboard.GetLeaderboard(wrong, &leaderboardv1.GetLeaderboardRequest{Board: "no such board"})
	reason := service.Reason(err)
	if reason == "" {
		return err
	}
	fmt.Println("refused:", reason)
	return nil
}
