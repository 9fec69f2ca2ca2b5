/** A deep copy of a JSON value, several times as fast as `structuredClone`. */
export function clone<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copy);
  const source = value as Record<string, unknown>;
  const target: Record<string, unknown> = {};
  for (const key of Object.keys(source)) {
    // A plain assignment would set the prototype.
    if (key === '__proto__') Object.defineProperty(target, key, { value: copy(source[key]), enumerable: true, configurable: true, writable: true });
    else target[key] = copy(source[key]);
  }
  return target;
}
