/** Seeds that nobody chose. */

/** A seed: of 31 bits, which every program takes. @returns {number} */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
}
