import { badRequest } from '../../shared/status.ts';

/** A request's query string; the first value of a name counts, as in Kubernetes. */
export type Query = Pick<URLSearchParams, 'get' | 'getAll' | 'has'>;

/** The query of a URL without one. */
export const noQuery: Query = { get: () => null, getAll: () => [], has: () => false };

/** Splits a request target at its question mark. */
export function splitTarget(target: string): { path: string; query: Query } {
  const mark = target.indexOf('?');
  if (mark < 0) return { path: target, query: noQuery };
  return { path: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
}

/** As Kubernetes reads booleans: present and neither `false` nor `0`. */
export function flag(query: Query, name: string): boolean {
  const text = query.get(name);
  return text !== null && text !== '0' && text.toLowerCase() !== 'false';
}

/** As {@link flag}, or undefined when absent. */
export const optionalFlag = (query: Query, name: string): boolean | undefined => (query.has(name) ? flag(query, name) : undefined);

/** A 64-bit integer, or undefined when absent. @throws StatusError 400 worded as Go's strconv words it */
export function integer(query: Query, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^[+-]?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (!Number.isSafeInteger(Number(text))) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: value out of range`);
  return Number(text);
}

/** What Go's ParseUint says against a text, or undefined for a good one. */
export function revisionProblem(text: string): string | undefined {
  if (!/^\d+$/.test(text)) return `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  return Number.isSafeInteger(Number(text)) ? undefined : `strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`;
}
