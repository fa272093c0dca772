/** How long all combinations take, from what the server says of the first one. */

/**
 * Seconds of all of them, or null where this machine has not made anything like it yet.
 *
 * The first is measured; the others differ from it as their frames, steps and pixels do.
 *
 * @param {import("./combos.js").Combo[]} combos
 * @param {any} answer of `/v1/videos/plan` for the first
 */
export function totalSeconds(combos, answer) {
  const seconds = answer.estimate?.seconds;
  if (seconds === null || seconds === undefined || !combos.length) return null;
  const first = weight(combos[0].request, answer);
  return combos.reduce((sum, { request }) => sum + (seconds * weight(request, answer)) / first, 0);
}

function weight(request, answer) {
  const planned = answer.plan?.request ?? {};
  const of = (name) => Number(request[name] ?? planned[name]) || 1;
  const size = request.width && request.height ? request.width * request.height : of("resolution") ** 2;
  return of("duration_s") * of("num_inference_steps") * size;
}
