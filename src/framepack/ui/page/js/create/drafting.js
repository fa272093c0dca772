/** Drafts: the same video with fewer steps and a step cache; finals: the same seed, exact. */

export const CACHE = "step_cache";
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
 * @param {import("../forms/values.js").Field | undefined} cacheField of the step cache
 * @returns {{draft: Record<string, any>, final: Record<string, any>}}
 */
export function draftAndFinal(body, answer, group, cacheField) {
  const { [CACHE]: _, step_cache_threshold: __, ...exact } = body; // a final is exact
  const shared = { ...exact, seed: body.seed ?? answer.seed, group };
  const cache = cacheField && cacheValue(cacheField);
  return {
    final: { ...shared, label: "final" },
    draft: {
      ...shared,
      num_inference_steps: draftSteps(answer.plan.request.num_inference_steps),
      ...(cache !== undefined && { [CACHE]: cache }),
      label: "draft",
    },
  };
}

/** The value that turns the step cache on. @param {import("../forms/values.js").Field} field */
function cacheValue(field) {
  if (field.kind === "boolean") return true;
  return (field.choices ?? []).find((choice) => !["off", "none", "", field.default].includes(choice));
}
