/** The server's tasks as they are now, and how fast they go. */

import { address, api } from "../lib/api.js";
import { live } from "../lib/live.js";
import { report } from "../lib/notify.js";
import { signal } from "../lib/state.js";

const PAGE = 30;
const WINDOW_S = 60;
const ENOUGH_S = 3;

/** Whether nothing more happens to a task by itself. @param {any} task */
export function hasEnded(task) {
  return ["completed", "failed", "cancelled"].includes(task.state);
}

/** Where a file of a task is. @param {any} task @param {string} name @param {any} [query] */
export function fileOf(task, name, query) {
  return address(`/tasks/${task.id}/files/${encodeURIComponent(name)}`, query);
}

/** Says how long running tasks still take, from how fast they went in the last minute. */
export class Pace {
  /** @type {Map<string, [number, number][]>} seconds and shares by task */
  #seen = new Map();

  /** @param {any} task */
  note(task) {
    if (task.state !== "running") {
      this.#seen.delete(task.id);
      return;
    }
    const now = performance.now() / 1000;
    const before = (this.#seen.get(task.id) ?? []).filter(([time]) => now - time < WINDOW_S);
    this.#seen.set(task.id, [...before, [now, task.progress]]);
  }

  /** Shares done in a second; null until that is known. @param {any} task @returns {number | null} */
  rate(task) {
    const seen = this.#seen.get(task.id) ?? [];
    if (seen.length < 2) return null;
    const [[start, first], [end, last]] = [seen[0], seen[seen.length - 1]];
    return end - start < ENOUGH_S || last <= first ? null : (last - first) / (end - start);
  }

  /** Seconds that are left; null until that is known. @param {any} task @returns {number | null} */
  left(task) {
    const rate = this.rate(task);
    return rate === null ? null : (1 - task.progress) / rate;
  }
}

/**
 * Watch tasks, the newest first. Nothing is asked twice: the stream of events tells of changes.
 *
 * @param {(task: any) => boolean} [isWanted]
 * @param {string} [tool] ask the server for those of one tool alone
 */
export function watchTasks(isWanted = () => true, tool = undefined) {
  /** @type {ReturnType<typeof signal<any[]>>} */
  const tasks = signal([]);
  const state = { more: false, last: null };
  const pace = new Pace();
  const gone = new Set();
  const merge = (before, some) => {
    const byId = new Map(before.map((task) => [task.id, task]));
    for (const task of some) {
      if (!isWanted(task) || gone.has(task.id)) continue;
      pace.note(task);
      byId.set(task.id, task);
    }
    // Times are whole seconds: the later of two tasks stays before the earlier.
    tasks.value = [...byId.values()].sort((one, other) => other.created_at - one.created_at);
  };
  const put = (task) => {
    const isNew = !tasks.value.some((each) => each.id === task.id);
    merge(isNew ? [task, ...tasks.value] : tasks.value, [task]);
  };
  const load = async (after) => {
    const page = await api.get("/tasks", { limit: PAGE, after, tool });
    state.more = page.has_more;
    state.last = page.last_id ?? page.data.at(-1)?.id ?? null;
    merge(after ? tasks.value : [], page.data);
  };
  const remove = (id) => {
    gone.add(id);
    tasks.value = tasks.value.filter((each) => each.id !== id);
  };
  const offs = [
    live.on("task", put),
    live.on("deleted", ({ id }) => remove(id)),
    live.on("connected", (isThere) => isThere && load().catch(report)),
  ];
  return {
    tasks,
    pace,
    put,
    load: () => load(),
    loadMore: () => load(state.last),
    get hasMore() {
      return state.more;
    },
    /** End a task. @param {any} task */
    cancel: async (task) => put(await api.post(`/tasks/${task.id}/cancel`)),
    /** Forget a task and its files. @param {any} task */
    delete: async (task) => {
      await api.delete(`/tasks/${task.id}`);
      remove(task.id);
    },
    stop: () => offs.forEach((off) => off()),
  };
}
