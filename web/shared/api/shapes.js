/**
 * Shapes: functions that validate the API's answers. Guarantees that a panel gets the members
 * it reads, so that a wrong answer becomes one clear error instead of a `NaN` or a blank page.
 * Unknown members are allowed, because a newer server may send more.
 *
 * @typedef {(value: unknown, path: string) => any} Shape checks a value and returns it
 */

/** An answer has another shape than expected. Its message names the place, never the value. */
export class WrongShape extends Error {
  /** @param {string} path @param {string} expected */
  constructor(path, expected) {
    super(`${path || "the answer"} is not ${expected}`);
    this.name = "WrongShape";
  }
}

/** @param {string} expected @param {(value: any) => boolean} fits @returns {Shape} */
function simple(expected, fits) {
  return (value, path = "") => {
    if (!fits(value)) throw new WrongShape(path, expected);
    return value;
  };
}

const AMOUNT = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?$/;

export const text = simple("a text", (value) => typeof value === "string");
export const number = simple("a number", (value) => Number.isFinite(value));
export const boolean = simple("true or false", (value) => value === true || value === false);
export const amount = simple(
  "an amount",
  (value) => typeof value === "string" && value.length <= 64 && AMOUNT.test(value),
);
export const time = simple(
  "a time",
  (value) => typeof value === "string" && !Number.isNaN(Date.parse(value)),
);

/** @param {...string} choices @returns {Shape} */
export function oneOf(...choices) {
  return simple(`one of ${choices.join(", ")}`, (value) => choices.includes(value));
}

/** @param {Shape} shape @returns {Shape} */
export function nullable(shape) {
  return (value, path = "") => (value === null ? null : shape(value, path));
}

/** A member that can be missing. @param {Shape} shape @returns {Shape} */
export function optional(shape) {
  return (value, path = "") => (value === undefined ? undefined : shape(value, path));
}

/** @param {Shape} shape of each item @returns {Shape} */
export function listOf(shape) {
  return (value, path = "") => {
    if (!Array.isArray(value)) throw new WrongShape(path, "a list");
    value.forEach((item, index) => shape(item, `${path}[${index}]`));
    return value;
  };
}

/** @param {Record<string, Shape>} members @returns {Shape} */
export function object(members) {
  const shapes = Object.entries(members);
  return (value, path = "") => {
    if (!isObject(value)) throw new WrongShape(path, "an object");
    for (const [name, shape] of shapes) shape(value[name], path ? `${path}.${name}` : name);
    return value;
  };
}

/** An object with arbitrary names. @param {Shape} shape of each member @returns {Shape} */
export function record(shape) {
  return (value, path = "") => {
    if (!isObject(value)) throw new WrongShape(path, "an object");
    for (const [name, member] of Object.entries(value)) shape(member, `${path}.${name}`);
    return value;
  };
}

/** A page of a list. @param {Shape} shape of each item @returns {Shape} */
export function pageOf(shape) {
  return object({ data: listOf(shape), next_cursor: nullable(text) });
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
