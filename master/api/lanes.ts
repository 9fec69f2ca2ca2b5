/** What one turn of the event loop lets through the door. */
export interface Turn {
  /** Handshakes to begin. */
  readonly guests: number;
  readonly others: number;
  /** Handshakes that others have had before guests who waited; guests' pay them back. */
  readonly owed: number;
  /** Turns in a row in which guests waited for those who had not been looked at. */
  readonly held: number;
}

/** Handshakes that others may be ahead of guests. */
const maxOwed = 32;
/** Turns after which a guest enters although there are more who have not been looked at. */
const maxHeld = 16;

/**
 * Who enters next. The runtime takes one new connection from the system per turn, and in the system's queue nobody can be
 * told from anybody: what a turn takes is what an administrator waits for, once for each agent before it. So while
 * connections come, turns are kept short, and agents' handshakes wait, but for one in {@link maxHeld} turns. Others go
 * first, until they have had {@link maxOwed} more handshakes than the agents that wait; from then on it is in turn.
 */
export function entering({ others, guests, arriving, perTurn, before }: {
  /** How many wait; guests that cannot be served now do not count. */
  readonly others: number;
  readonly guests: number;
  /** Connections came since the last turn. */
  readonly arriving: boolean;
  readonly perTurn: number;
  readonly before: Turn;
}): Turn {
  if (guests === 0) return { others: Math.min(others, perTurn), guests: 0, owed: 0, held: 0 };
  const first = Math.min(others, perTurn, maxOwed - before.owed);
  const isShort = arriving && before.held < maxHeld;
  const share = isShort ? Number(before.owed >= maxOwed) : arriving ? 1 : Math.max(1, perTurn - first);
  const enter = Math.min(guests, share);
  return { others: first, guests: enter, owed: Math.max(0, before.owed + first - enter), held: enter === 0 ? before.held + 1 : 0 };
}
