// @ts-check
// The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says.
// Plain JavaScript with checked types, so that every Node runs this file as it is:
//   TOKEN_URL=… CLIENT_ID=… CLIENT_SECRET=… node example.mjs 127.0.0.1:50054 weekly
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "topten-stubs/google/rpc/error_details_pb";
import { LeaderboardService } from "topten-stubs/topten/leaderboard/v1/leaderboard_service_pb";

const { TOKEN_URL = "", CLIENT_ID = "", CLIENT_SECRET = "" } = process.env;
const [address = "127.0.0.1:50054", board = "all"] = process.argv.slice(2);

let token = "";
let renewAt = 0;

/** The token of this service, renewed after 80 % of its lifetime. */
async function currentToken() {
  if (Date.now() >= renewAt) {
    const credentials = Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString("base64");
    const response = await fetch(TOKEN_URL, {
      method: "POST",
      headers: { authorization: `Basic ${credentials}` },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new Error(`no token: HTTP ${response.status}`);
    const issued = await response.json();
    token = issued.access_token;
    renewAt = Date.now() + issued.expires_in * 800;
  }
  return token;
}

/** @type {import("@connectrpc/connect").Interceptor} */
const authorize = (next) => async (request) => {
  request.header.set("authorization", `Bearer ${await currentToken()}`);
  return next(request);
};
// The first call also connects, so its deadline is generous; the calls of a service that is warm do with 2 s.
const transport = createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [authorize], defaultTimeoutMs: 30_000 });
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
