// What a team's service does: its players, points and board, then a proof of a final rank, checked without Topten.
// The client needs the scopes action:define, action:submit, board:define, leaderboard:read and player:write:
//
//	TOKEN_URL=… KEYS_URL=… CLIENT_ID=… CLIENT_SECRET=… go run ./example/team IDENTITY QUIZ SCORE LEADERBOARD NAME
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"

	"topten.internal/stubs/example/service"
	actionv1 "topten.internal/stubs/topten/action/v1"
	boardv1 "topten.internal/stubs/topten/board/v1"
	identityv1 "topten.internal/stubs/topten/identity/v1"
	leaderboardv1 "topten.internal/stubs/topten/leaderboard/v1"
)

// A new board is filled within seconds, and a closed one is sealed within a minute.
const (
	attempts = 240
	pause    = 500 * time.Millisecond
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: team IDENTITY QUIZ SCORE LEADERBOARD NAME")
	}
	if err := run(os.Args[1:5], os.Args[5]); err != nil {
		log.Fatal(err)
	}
}

func run(addresses []string, name string) error {
	var connections []*grpc.ClientConn
	for _, address := range addresses {
		connection, err := service.Connect(address)
		if err != nil {
			return err
		}
		defer connection.Close()
		connections = append(connections, connection)
	}
	identity := identityv1.NewIdentityServiceClient(connections[0])
	actions := actionv1.NewActionServiceClient(connections[1])
	boards := boardv1.NewBoardServiceClient(connections[2])
	leaderboard := leaderboardv1.NewLeaderboardServiceClient(connections[3])

	if err := ensurePlayers(identity, name); err != nil {
		return err
	}
	if err := define(actions, boards, name); err != nil {
		return err
	}
	if err := submit(actions, name); err != nil {
		return err
	}
	board := "custom:" + name
	frame, err := untilDone(func(context.Context) (*leaderboardv1.Frame, error) {
		return firstWholeFrame(leaderboard, board, 2)
	}, "BOARD_NOT_FOUND")
	if err != nil {
		return err
	}
	for _, entry := range frame.GetEntries() {
		fmt.Println(entry.GetRank(), entry.GetUsername(), entry.GetScore())
	}
	if _, err := untilDone(func(ctx context.Context) (*boardv1.ArchiveBoardResponse, error) {
		return boards.ArchiveBoard(ctx, &boardv1.ArchiveBoardRequest{Name: name})
	}, "UNAVAILABLE"); err != nil {
		return err
	}
	// Refused until the board is closed, and then until it is sealed.
	request := &leaderboardv1.GetProofRequest{Board: board, UserId: frame.GetEntries()[0].GetUserId()}
	response, err := untilDone(func(ctx context.Context) (*leaderboardv1.GetProofResponse, error) {
		return leaderboard.GetProof(ctx, request)
	}, "INVALID_ARGUMENT", "UNAVAILABLE")
	if err != nil {
		return err
	}
	proof := response.GetProof()
	head, err := checked(proof)
	if err != nil {
		return err
	}
	fmt.Printf("proof: rank %d of %d with %d points\n", proof.GetRank(), head.Players, proof.GetScore())
	return nil
}

func ensurePlayers(identity identityv1.IdentityServiceClient, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), service.Deadline)
	defer cancel()
	var players []*identityv1.PlayerProfile
	for _, each := range []string{"a", "b"} {
		players = append(players, &identityv1.PlayerProfile{ExternalId: name + "-" + each, Username: name + "-" + each})
	}
	ensured, err := identity.EnsurePlayers(ctx, &identityv1.EnsurePlayersRequest{Players: players})
	if err != nil {
		return err
	}
	fmt.Print("players:")
	for _, each := range ensured.GetResults() {
		fmt.Print(" ", each.GetStatus())
	}
	fmt.Println()
	return nil
}

func define(actions actionv1.ActionServiceClient, boards boardv1.BoardServiceClient, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), service.Deadline)
	defer cancel()
	reported := &actionv1.Rule_Reported{Reported: &actionv1.ReportedRule{Minimum: 1, Maximum: 1000}}
	actionType := &actionv1.ActionType{
		ActionTypeId: name, Title: "A run", Submitters: actionv1.ActionType_SERVICES, Rule: &actionv1.Rule{Rule: reported},
	}
	if _, err := actions.PutActionType(ctx, &actionv1.PutActionTypeRequest{ActionType: actionType}); err != nil {
		return err
	}
	today := time.Now().UTC()
	period := "range:" + today.AddDate(0, 0, -1).Format(time.DateOnly) + "/" + today.AddDate(0, 0, 2).Format(time.DateOnly)
	definition := &boardv1.BoardDefinition{Name: name, Sources: []string{"action:" + name}, Period: period}
	_, err := boards.PutBoard(ctx, &boardv1.PutBoardRequest{Definition: definition})
	return err
}

func submit(actions actionv1.ActionServiceClient, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), service.Deadline)
	defer cancel()
	run := action(name, "a", 30)
	batch := []*actionv1.PlayerAction{run, action(name, "b", 20), run, action(name, "b", 5000)}
	submitted, err := actions.SubmitActions(ctx, &actionv1.SubmitActionsRequest{Actions: batch})
	if err != nil {
		return err
	}
	for _, each := range submitted.GetResults() {
		if each.GetReason() != "" {
			fmt.Println(each.GetStatus(), each.GetReason())
		} else {
			fmt.Println(each.GetStatus(), each.GetPointsAwarded())
		}
	}
	return nil
}

// action is one of a player who is named as in this team's system.
func action(name, player string, value int32) *actionv1.PlayerAction {
	return &actionv1.PlayerAction{
		Player:       &actionv1.Player{Id: &actionv1.Player_ExternalId{ExternalId: name + "-" + player}},
		ActionTypeId: name,
		ActionId:     uuid(),
		Happened:     &actionv1.PlayerAction_Value{Value: value},
	}
}

// uuid returns a random UUID. Use your library; this program has none.
func uuid() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes) // never fails
	bytes[6], bytes[8] = bytes[6]&0x0f|0x40, bytes[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bytes[:4], bytes[4:6], bytes[6:8], bytes[8:10], bytes[10:])
}

// firstWholeFrame watches the board until it shows all players.
func firstWholeFrame(
	leaderboard leaderboardv1.LeaderboardServiceClient, board string, players int,
) (*leaderboardv1.Frame, error) {
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	frames, err := leaderboard.WatchLeaderboard(watching, &leaderboardv1.WatchLeaderboardRequest{Board: board})
	if err != nil {
		return nil, err
	}
	for {
		update, err := frames.Recv()
		if err != nil {
			return nil, err
		}
		if frame := update.GetFrame(); len(frame.GetEntries()) == players && !frame.GetStale() {
			return frame, nil
		}
	}
}

// untilDone repeats what is refused for one of these reasons.
func untilDone[T any](attempt func(context.Context) (T, error), notYet ...string) (T, error) {
	for range attempts {
		ctx, cancel := context.WithTimeout(context.Background(), service.Deadline)
		result, err := attempt(ctx)
		cancel()
		if err == nil || !slices.Contains(notYet, service.Reason(err)) {
			return result, err
		}
		time.Sleep(pause)
	}
	var none T
	return none, errors.New("still refused")
}
