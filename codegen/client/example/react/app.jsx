// A React page of another origin: a sign-in and live boards. Components that show the same board share one stream.

import React from "react";
import { createRoot } from "react-dom/client";
import { connect } from "topten-client";
import { ToptenProvider, useLeaderboard } from "topten-client/react";

const given = new URLSearchParams(location.search);
const url = given.get("server") ?? "http://127.0.0.1:8080";
const boards = (given.get("boards") ?? "all,weekly").split(",");
const client = connect({ url });

function Board({ board }) {
  const { entries, state } = useLeaderboard(board);
  return (
    <section aria-label={board}>
      <h2>
        {board}: {state.name}
      </h2>
      <ol>
        {entries.map(({ userId, username, score }) => (
          <li key={userId}>
            <bdi>{username}</bdi> {score}
          </li>
        ))}
      </ol>
    </section>
  );
}

function SignIn() {
  const [error, setError] = React.useState("");
  const signIn = (form) =>
    client.session
      .login({ username: form.get("username"), password: form.get("password") })
      .then(() => setError(""), (failure) => setError(failure.message));
  return (
    <form action={signIn}>
      <label>
        Name <input name="username" autoComplete="username" required />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <button>Sign in</button>
      <output>{error}</output>
    </form>
  );
}

client.session.resume().catch(() => {});
createRoot(document.getElementById("root")).render(
  <ToptenProvider client={client}>
    <SignIn />
    {boards.map((board) => (
      <Board key={board} board={board} />
    ))}
  </ToptenProvider>,
);
