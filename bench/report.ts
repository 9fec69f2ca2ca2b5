/** One measured claim. `ratio` is value over baseline; both null where there is nothing to compare with. */
export interface Claim {
  readonly claim: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline: number | null;
  readonly ratio: number | null;
}

/** Three significant digits, which is more than these machines are good for. */
const round = (value: number): number => Number(value.toPrecision(3));

/** Prints a claim as one JSON line. */
export function report(claim: string, value: number, unit: string, baseline?: number): void {
  const line: Claim = { claim, value: round(value), unit, baseline: baseline === undefined ? null : round(baseline), ratio: baseline ? round(value / baseline) : null };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
}

/** The `share` quantile, such as 0.99. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Runs ours and the baseline in turn, `rounds` times each, and gives the medians; what disturbs one disturbs the other. */
export async function inTurn(rounds: number, ours: () => Promise<number>, baseline: () => Promise<number>): Promise<{ value: number; baseline: number }> {
  const [mine, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    mine.push(await ours());
    theirs.push(await baseline());
  }
  return { value: median(mine), baseline: median(theirs) };
}

/** A line for the person who watches; claims alone go to standard output. */
export const note = (text: string): void => { process.stderr.write(`${text}\n`); };
