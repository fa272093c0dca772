/** Drafts: the same video with fewer steps and at speed fast; finals: the same seed, exact. */

const SHARE_OF_STEPS = 0.4;
const LEAST_STEPS = 4;

/** How many steps a draft takes of so many. @param {number} steps */
function draftSteps(steps) {
  return Math.min(steps, Math.max(LEAST_STEPS, Math.ceil(steps * SHARE_OF_STEPS)));
}

/**
 * The bodies of a draft and of its final video.
 *
 * @param {Record<string, any>} body the request as it is edited
 * @param {any} answer of `/v1/videos/plan` for it
 * @param {string} group that both are in
 * @returns {{draft: Record<string, any>, final: Record<string, any>}}
 */
export function draftAndFinal(body, answer, group) {
  const { speed: _, step_cache: __, step_cache_threshold: ___, ...exact } = body; // a final is exact
  const shared = { ...exact, seed: body.seed ?? answer.seed, group };
  return {
    final: { ...shared, label: "final" },
    draft: {
      ...shared,
      num_inference_steps: draftSteps(answer.plan.request.num_inference_steps),
      speed: "fast",
      label: "draft",
    },
  };
}
