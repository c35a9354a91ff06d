// Mounts GraphiQL. Requests use the session of the page at `/`, or the token in the explorer's own headers.

const FIRST_QUERY = `# The schema is in the book icon on the left; Ctrl+Space completes, Ctrl+Enter runs.
#
# Requests use the session of the page at /. Sign in there, or here:
#   mutation { login(input: {username: "…", password: "…"}) { user { username } } }
# The browser keeps the tokens then, and responses leave them empty.
# To see tokens, or to use one, write into "Headers" below:
#   {"Topten-Session": "none"}  or  {"Authorization": "Bearer …"}

{
  getLeaderboard(board: {kind: WEEKLY}) {
    rank
    username
    score
  }
}
`;

async function fetcher(parameters, { headers: own = {} } = {}) {
  const names = Object.keys(own).map((name) => name.toLowerCase());
  const carried = names.includes("authorization") || names.includes("topten-session");
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/graphql-response+json, application/json",
      ...(carried ? {} : { "Topten-Session": "cookie" }),
      ...own,
    },
    body: JSON.stringify(parameters),
  });
  return response.json();
}

ReactDOM.createRoot(document.getElementById("explorer")).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: FIRST_QUERY,
    defaultEditorToolsVisibility: "headers",
    // The history and the drafts are kept in this browser; a token in the headers is not.
    shouldPersistHeaders: false,
  }),
);
