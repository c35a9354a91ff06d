// @ts-check
// The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says.
// Plain JavaScript with checked types, so that every Node runs this file as it is:
//   TOKEN_URL=… CLIENT_ID=… CLIENT_SECRET=… node example.mjs 127.0.0.1:50054 weekly
import { ConnectError, createClient } from "@connectrpc/connect";
import { ErrorInfoSchema } from "topten-stubs/google/rpc/error_details_pb";
import { LeaderboardService } from "topten-stubs/topten/leaderboard/v1/leaderboard_service_pb";
import { connect } from "./service.mjs";

const [address = "127.0.0.1:50054", board = "all"] = process.argv.slice(2);
const leaderboard = createClient(LeaderboardService, connect(address));

const { frame } = await leaderboard.getLeaderboard({ board, limit: 10 });
for (const entry of frame?.entries ?? []) {
  console.log(entry.rank, entry.username, entry.score);
}

// A stream has no deadline and lasts until it is told to end; leaving the loop does not tell it.
const stop = new AbortController();
for await (const { frame } of leaderboard.watchLeaderboard({ board }, { timeoutMs: 0, signal: stop.signal })) {
  console.log(`frame of ${frame?.board} with ${frame?.entries.length} entries`);
  break;
}
stop.abort();

try {
  await leaderboard.getLeaderboard({ board: "no such board" });
} catch (error) {
  const [info] = ConnectError.from(error).findDetails(ErrorInfoSchema);
  if (info === undefined) throw error; // no answer of Topten's: the network, or a proxy
  console.log("refused:", info.reason);
}
