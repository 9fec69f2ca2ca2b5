import { readFileSync } from 'node:fs';

/**
 * File descriptors that the proxy may use, so that a flood of connections cannot starve the rest of the agent.
 * A proxied connection takes two, a UDP flow and a listener one each.
 */
export class Descriptors {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes all or nothing. */
  take(count: number): boolean {
    if (this.#used + count > this.#limit) return false;
    this.#used += count;
    return true;
  }

  give(count: number): void {
    this.#used -= count;
  }
}

/** What the proxy may use of this process's limit: a quarter, but at most 512, stays for everything else. */
export function proxyDescriptors(limits: string = readLimits()): number {
  const soft = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1_024);
  return soft - Math.min(512, Math.ceil(soft / 4));
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
