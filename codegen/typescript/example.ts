// The first calls: the head of a board, a frame of its stream, and what a refusal says. Node runs this file as it is:
//   TOPTEN_TOKEN=<access token> node example.ts 127.0.0.1:50054 weekly
import { ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "topten-stubs/google/rpc/error_details_pb";
import { LeaderboardService } from "topten-stubs/topten/leaderboard/v1/leaderboard_service_pb";

const [address = "127.0.0.1:50054", board = "all"] = process.argv.slice(2);

const authorize: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${process.env.TOPTEN_TOKEN}`);
  return next(request);
};
const transport = createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [authorize], defaultTimeoutMs: 2_000 });
const leaderboard = createClient(LeaderboardService, transport);

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
