// The simulated players for k6: they answer a quiz and read boards, over GraphQL and gRPC.
// PLAN names a JSON file with addresses, players, scenarios and thresholds; see tests/load/traffic.py, which writes it.
import exec from 'k6/execution';
import http from 'k6/http';
import grpc from 'k6/net/grpc';
import { SharedArray } from 'k6/data';
import { Counter, Rate } from 'k6/metrics';

const plan = JSON.parse(open(__ENV.PLAN));
const players = new SharedArray('players', () => JSON.parse(open(plan.players)));
const errors = new Rate('errors');
const accepted = new Counter('accepted');
const refused = new Counter('refused');

export const options = {
  scenarios: plan.scenarios,
  thresholds: plan.thresholds,
  summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'],
  systemTags: ['scenario', 'status', 'error_code'],
  discardResponseBodies: false,
};

const REFRESH = 'mutation ($token: String!) { refreshToken(refreshToken: $token) { accessToken refreshToken expiresIn } }';
const SUBMIT = `mutation ($input: QuizActionInput!) {
  submitQuizAction(input: $input) { success duplicate pointsAwarded }
}`;
const READS = [
  '{ getLeaderboard { rank userId username score } }',
  '{ getLeaderboard(board: {kind: WEEKLY}) { rank userId username score } }',
  '{ leaderboard(first: 20) { totalCount me { rank score } edges { cursor node { rank username score } } } }',
  '{ me { score rank } }',
];

// Each virtual user is one player with their own session and, for the edge, their own address.
let player;
let renewAt;
const clients = {};

function self() {
  if (!player) {
    player = Object.assign({}, players[(exec.vu.idInTest - 1) % players.length]);
    renewAt = plan.startedAt + (player.expiresIn * 1000) / 2;
  }
  if (Date.now() > renewAt) {
    const answer = graphql(REFRESH, { token: player.refreshToken }, 'refresh', null);
    if (answer.data) {
      Object.assign(player, answer.data.refreshToken);
      renewAt = Date.now() + (player.expiresIn * 1000) / 2;
    }
  }
  return player;
}

function graphql(query, variables, operation, who) {
  const headers = { 'Content-Type': 'application/json' };
  headers['X-Forwarded-For'] = player.address;
  if (who) headers.Authorization = `Bearer ${who.accessToken}`;
  const response = http.post(plan.graphql, JSON.stringify({ query, variables }), { headers, tags: { operation }, timeout: '30s' });
  let answer = {};
  try {
    answer = response.json() || {};
  } catch (error) {
    answer = {};
  }
  const reason = answer.errors ? (answer.errors[0].extensions || {}).reason : null;
  const good = response.status === 200 && !answer.errors;
  errors.add(!good);
  if (!good) refused.add(1, { reason: reason || `HTTP ${response.status}` });
  return good ? answer : {};
}

function invoke(service, method, request) {
  const who = self();
  if (!clients[service]) {
    clients[service] = loaded[service];
    clients[service].connect(plan.grpc[service], { plaintext: true, timeout: '10s' });
  }
  const answer = clients[service].invoke(method, request, {
    metadata: { authorization: `Bearer ${who.accessToken}` },
    timeout: '30s',
  });
  const good = answer && answer.status === grpc.StatusOK;
  errors.add(!good);
  if (!good) refused.add(1, { reason: `gRPC ${answer ? answer.status : 'none'}` });
  return good;
}

const loaded = {};
for (const [service, file] of Object.entries(plan.protoFiles)) {
  loaded[service] = new grpc.Client();
  loaded[service].load([plan.protos], file);
}

// Version 4 of RFC 9562, from the generator that k6 seeds for each virtual user.
function actionId() {
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => Math.floor(Math.random() * 16).toString(16));
}

export function submit_graphql() {
  const input = { quizId: plan.quizId, actionId: actionId(), answers: plan.answers, timestamp: new Date().toISOString() };
  if (graphql(SUBMIT, { input }, 'submit', self()).data) accepted.add(1);
}

export function submit_grpc() {
  const answers = plan.answers.map((a) => ({ question_id: a.questionId, selected_option: a.selectedOption }));
  const request = { quiz_id: plan.quizId, action_id: actionId(), answers, timestamp: new Date().toISOString() };
  if (invoke('quiz', 'topten.quiz.v1.QuizService/SubmitAction', request)) accepted.add(1);
}

export function read_graphql() {
  graphql(READS[exec.scenario.iterationInTest % READS.length], {}, 'read', self());
}

export function read_grpc() {
  const who = self();
  if (exec.scenario.iterationInTest % 2) {
    invoke('leaderboard', 'topten.leaderboard.v1.LeaderboardService/GetLeaderboard', { board: 'all', limit: 10 });
  } else {
    invoke('leaderboard', 'topten.leaderboard.v1.LeaderboardService/GetAround', { board: 'all', user_id: who.userId, radius: 3 });
  }
}

export function handleSummary(data) {
  return { [plan.summary]: JSON.stringify(data) };
}
