// What both servers answer: a board that is given as JSON on standard input, from memory.
import { text } from 'node:stream/consumers';

const entries = JSON.parse(await text(process.stdin));

export const port = Number(process.argv[2]);
export const schema = `
  type Entry { userId: ID! username: String! score: Int! rank: Int country: String }
  type Query { getLeaderboard(limit: Int = 10): [Entry!]! }
`;
export const resolvers = { Query: { getLeaderboard: (_, { limit }) => entries.slice(0, limit) } };
