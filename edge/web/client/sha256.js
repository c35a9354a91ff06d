// @ts-check
// SHA-256 of short texts, many of which begin alike (FIPS 180-4). The browser's own is asynchronous, which costs more than a
// hash, and missing on pages that came without TLS, as in a classroom.

const BLOCK = 64;
const fraction = (/** @type {number} */ value) => Math.floor((value % 1) * 2 ** 32) | 0;
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n += 1) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const CONSTANTS = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const W = new Int32Array(BLOCK);

/** Looks for the number behind a prefix whose hash is known. */
export class Search {
  /** @param {string} prefix @param {string} digest of the prefix and the number, in hexadecimal digits */
  constructor(prefix, digest) {
    const bytes = new TextEncoder().encode(prefix);
    this.wanted = Int32Array.from(digest.match(/.{8}/g) ?? [], (word) => parseInt(word, 16) | 0);
    this.start = START.slice();
    this.length = bytes.length;
    this.whole = bytes.length - (bytes.length % BLOCK);
    for (let at = 0; at < this.whole; at += BLOCK) compress(this.start, new DataView(bytes.buffer, at));
    // What is left of the prefix, a number of up to 16 digits, and the padding are two blocks at most.
    this.rest = new Uint8Array(2 * BLOCK);
    this.rest.set(bytes.subarray(this.whole));
    this.view = new DataView(this.rest.buffer);
    this.second = new DataView(this.rest.buffer, BLOCK);
    this.state = new Int32Array(8);
  }

  /** The number from `first` to below `end` that has the hash; -1 if none has. @param {number} first @param {number} end */
  among(first, end) {
    for (let number = first; number < end; number += 1) {
      this.#hash(String(number));
      if (this.state.every((word, index) => word === this.wanted[index])) return number;
    }
    return -1;
  }

  /** @param {string} digits */
  #hash(digits) {
    let at = this.length - this.whole;
    this.rest.fill(0, at);
    for (let n = 0; n < digits.length; n += 1) this.rest[at++] = digits.charCodeAt(n);
    this.rest[at] = 0x80;
    const isLong = at + 9 > BLOCK;
    this.view.setUint32((isLong ? 2 : 1) * BLOCK - 4, (this.length + digits.length) * 8);
    this.state.set(this.start);
    compress(this.state, this.view);
    if (isLong) compress(this.state, this.second);
  }
}

/** Take a block of 64 bytes into a state. @param {Int32Array} state @param {DataView} block */
function compress(state, block) {
  for (let n = 0; n < 16; n += 1) W[n] = block.getInt32(4 * n);
  for (let n = 16; n < 64; n += 1) {
    const [x, y] = [W[n - 15], W[n - 2]];
    W[n] = (W[n - 16] + W[n - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let n = 0; n < 64; n += 1) {
    const first = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + CONSTANTS[n] + W[n]) | 0;
    const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => (state[index] += word));
}

/** @param {number} word @param {number} bits */
const turn = (word, bits) => (word >>> bits) | (word << (32 - bits));
