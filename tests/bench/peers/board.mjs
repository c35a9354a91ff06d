// What both servers answer: a board that is given as JSON on standard input, from memory.
import { text } from 'node:stream/consumers';

const entries = JSON.parse(await text(process.stdin));

export const port = Number(process.argv[2]);
export const schema = `
  type Entry { userId: ID! username: String! score: Int! rank: Int country: String }
  type Entries { entries: [Entry!]! }
  type Query {
    getLeaderboard(limit: Int = 10): [Entry!]!
    aroundPlayer(userId: ID!, radius: Int = 5): Entries
    ranks(userIds: [ID!]!): Entries
  }
`;

const places = new Map(entries.map(({ userId }, place) => [userId, place]));

/** A player among their neighbors, shifted near either end of the board. */
function around(userId, radius) {
  const size = 2 * radius + 1;
  const first = Math.max(0, Math.min(places.get(userId) - radius, entries.length - size));
  return entries.slice(first, first + size);
}

export const resolvers = {
  Query: {
    getLeaderboard: (_, { limit }) => entries.slice(0, limit),
    aroundPlayer: (_, { userId, radius }) => ({ entries: around(userId, radius) }),
    ranks: (_, { userIds }) => ({ entries: userIds.map((userId) => entries[places.get(userId)]) }),
  },
};
