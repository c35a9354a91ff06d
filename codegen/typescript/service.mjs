// @ts-check
// A connection to a process of Topten, with the token of this service in every call.
import { createGrpcTransport } from "@connectrpc/connect-node";

const { TOKEN_URL = "", CLIENT_ID = "", CLIENT_SECRET = "" } = process.env;

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

/**
 * The first call also connects, so its deadline is generous; the calls of a service that is warm do with 2 s.
 * @param {string} address
 */
export const connect = (address) =>
  createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [authorize], defaultTimeoutMs: 30_000 });
