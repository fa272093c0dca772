/** Every control of the page, tied to the draft and to what the plan says of it. */

import { control } from "../forms/control.js";
import { draft } from "../lib/draft.js";
import { plan } from "../lib/plan.js";

/**
 * Controls of the request's and the job's fields. Each is made once, where the page wants it.
 *
 * @param {{fields: any[], options: any[]}} found the schema
 */
export function fieldSet(found) {
  const inRequest = new Map(found.fields.map((field) => [field.name, field]));
  const inOptions = new Map(found.options.map((field) => [field.name, field]));
  /** @type {Map<string, any>} as control makes them */
  const controls = new Map();
  const field = (name) => inRequest.get(name) ?? inOptions.get(name);
  const value = (name) => (inRequest.has(name) ? draft.request : draft.options).value[name];
  const make = (name, options = {}) => {
    const onChange = (next) => (inRequest.has(name) ? draft.set(name, next) : draft.setOption(name, next));
    const made = control(field(name), { value: value(name), onChange, ...options });
    controls.set(name, made);
    hint(name, made, plan.value.answer);
    return made;
  };
  const hint = (name, made, answer) => {
    if (answer && inRequest.has(name)) made.setHint(unsaid(name, answer));
  };
  const show = () => {
    for (const [name, made] of controls) made.setValue(value(name));
  };
  let wrong = "";
  const offs = [
    draft.request.subscribe(show),
    draft.options.subscribe(show),
    plan.subscribe(({ state, answer, error }) => {
      if (state === "planning") return;
      if (wrong && wrong !== error?.param) controls.get(wrong)?.setError(null);
      wrong = controls.has(error?.param) ? error.param : "";
      if (wrong) controls.get(wrong)?.setError(error.message);
      if (state === "ready") for (const [name, made] of controls) hint(name, made, answer);
    }, { now: true }),
  ];
  return {
    has: (name) => inRequest.has(name) || inOptions.has(name),
    hasControl: (name) => controls.has(name),
    field,
    value,
    make,
    /** Take in a control that a part of the page made itself. @param {string} name @param {any} made */
    add: (name, made) => controls.set(name, { setValue: () => undefined, setHint: () => undefined, ...made }),
    get: (name) => controls.get(name),
    /** Unset fields. @param {string[]} names */
    reset: (names) => {
      draft.request.value = without(draft.request.value, names);
      draft.options.value = without(draft.options.value, names);
    },
    end: () => offs.forEach((off) => off()),
  };
}

/** What holds where nothing was said. A seed is another one each time. */
function unsaid(name, answer) {
  return name === "seed" || name in draft.request.value ? undefined : answer.plan.request[name];
}

function without(values, names) {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));
}
