const units: Readonly<Record<string, number>> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
};

/** The number that a quantity stands for: `500m` is 0.5, `1Gi` 1073741824. Undefined for none, as for an unreadable one. */
export function amount(quantity: string | undefined): number | undefined {
  const match = /^([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([numkMGTPE]i?|[KMGTPE]i)?)$/.exec(quantity ?? '');
  if (!match) return undefined;
  const value = Number(`${match[1]}${match[2] ?? ''}`) * (units[match[3] ?? ''] ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}
