// GraphQL in cookie mode: the browser keeps the tokens, no script ever sees one.

export class ApiError extends Error {
  constructor(reason, message, retryAfter) {
    super(message);
    this.reason = reason;
    this.retryAfter = retryAfter;
  }
}

async function send(query, variables) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Topten-Session": "cookie" },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json().catch(() => ({}));
  const error = answer.errors?.[0];
  if (error) {
    throw new ApiError(error.extensions?.reason ?? "INTERNAL", error.message, error.extensions?.retryAfter);
  }
  if (!answer.data) {
    throw new ApiError(answer.code ?? "UNAVAILABLE", answer.detail ?? "The server does not answer.");
  }
  return answer.data;
}

let refreshing = null;

/** Trade the session's cookies for new ones; whoever asks meanwhile waits for the same answer. */
export function refreshSession() {
  refreshing ??= send("mutation { refreshToken { expiresIn } }", {}).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** The `data` of an answer. Throws ApiError. An access token that has run out is renewed once, unseen. */
export async function graphql(query, variables = {}) {
  try {
    return await send(query, variables);
  } catch (error) {
    if (error.reason !== "UNAUTHENTICATED") throw error;
  }
  await refreshSession();
  return send(query, variables);
}

const USER = "user { userId username country }";

export const register = (input) =>
  send(`mutation ($input: RegisterInput!) { register(input: $input) { ${USER} } }`, { input });

export const login = (input) =>
  send(`mutation ($input: LoginInput!) { login(input: $input) { ${USER} } }`, { input });

export const logout = () => send("mutation { logout }", {});

export const me = () => graphql("{ me { userId username country score rank } }").then((data) => data.me);
