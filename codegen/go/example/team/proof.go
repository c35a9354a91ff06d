package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	leaderboardv1 "topten.internal/stubs/topten/leaderboard/v1"
)

type signedHead struct {
	Board   string `json:"board"`
	Players int    `json:"players"`
	Root    string `json:"root"`
}

// checked returns the signed head of a proof that holds.
func checked(proof *leaderboardv1.Proof) (*signedHead, error) {
	head, err := verified(proof.GetHead())
	if err != nil {
		return nil, err
	}
	if head.Board != proof.GetBoard() {
		return nil, errors.New("the head is of something else")
	}
	digest := sha256.Sum256([]byte(hex.EncodeToString(proof.GetSalt()) + proof.GetUserId()))
	if !bytes.Equal(digest[:], proof.GetDigest()) {
		return nil, errors.New("the digest is of another player")
	}
	node := sha256.Sum256(fmt.Appendf([]byte{0}, "%x %d %d", digest, proof.GetRank(), proof.GetScore()))
	place, last := int(proof.GetRank())-1, head.Players-1
	for level, sibling := range proof.GetPath() {
		// The last node of a level has no neighbor on its right.
		if place>>level&1 == 1 || place>>level == last>>level {
			node = sha256.Sum256(bytes.Join([][]byte{{1}, sibling, node[:]}, nil))
		} else {
			node = sha256.Sum256(bytes.Join([][]byte{{1}, node[:], sibling}, nil))
		}
	}
	if hex.EncodeToString(node[:]) != head.Root {
		return nil, errors.New("the entry is not in the tree")
	}
	return head, nil
}

// verified returns a head that a published key has signed.
func verified(text string) (*signedHead, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a signed head")
	}
	var header struct {
		ID   string `json:"kid"`
		Type string `json:"typ"`
	}
	if err := decode(parts[0], &header); err != nil {
		return nil, err
	}
	key, err := publishedKey(header.ID)
	if err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	if header.Type != "board-head+jwt" || !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
		return nil, errors.New("the signature is wrong")
	}
	head := &signedHead{}
	return head, decode(parts[1], head)
}

func publishedKey(id string) (ed25519.PublicKey, error) {
	response, err := http.Get(os.Getenv("KEYS_URL"))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var published struct {
		Keys []struct {
			ID    string `json:"kid"`
			Value string `json:"x"`
		} `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&published); err != nil {
		return nil, err
	}
	for _, key := range published.Keys {
		if key.ID == id {
			return base64.RawURLEncoding.DecodeString(key.Value)
		}
	}
	return nil, errors.New("the key is not published")
}

func decode(text string, to any) error {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}
