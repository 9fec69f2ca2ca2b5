import { humanDuration } from '../../shared/time.ts';
import type { FleetNode, Totals } from './fleet-messages.ts';
import type { FleetChange } from './watch-client.ts';

export interface FleetScreen {
  readonly masterVersion: string;
  readonly totals: Totals;
  readonly nodes: Iterable<FleetNode>;
  readonly nowMs: number;
  /** Rows and columns there are; without them all nodes are shown. */
  readonly rows?: number;
  readonly columns?: number;
  /** Why what is shown is not live any more. */
  readonly stale?: string;
}

/** The fleet as lines of text, nodes in trouble first. At most `rows` lines of `columns` characters. */
export function fleetLines(screen: FleetScreen): string[] {
  const { rows = Infinity, columns = Infinity } = screen;
  const nodes = [...screen.nodes].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const head = [...headLines(screen), ...(screen.stale ? [screen.stale] : []), ''];
  const room = Math.max(1, rows - head.length - 1);
  const shown = nodes.length <= room ? nodes : nodes.slice(0, Math.max(0, room - 1));
  const lines = nodes.length === 0 ? ['No nodes.'] : table([heading, ...shown.map((node) => nodeCells(node, screen.nowMs))]);
  const more = nodes.length > shown.length ? [`… and ${nodes.length - shown.length} more`] : [];
  return [...head, ...lines, ...more].slice(0, rows).map((line) => (line.length > columns ? `${line.slice(0, Math.max(0, columns - 1))}…` : line));
}

const heading = ['NODE', 'STATUS', 'CONNECTED', 'LAST SEEN', 'LAG', 'AGENT', 'PODS'];

/** What is wrong comes first. */
const rank = ({ state, connected, lag, pods }: FleetNode): number => {
  if (state !== 'Ready') return 0;
  if (!connected) return 1;
  return lag > 0 || pods.running < pods.total ? 2 : 3;
};

function headLines({ masterVersion, totals }: FleetScreen): string[] {
  const { nodes, ready, connected, pods } = totals;
  const phases = (['Running', 'Pending', 'Succeeded', 'Failed', 'Unknown'] as const).filter((phase) => pods[phase] > 0).map((phase) => `${pods[phase]} ${phase}`);
  const unscheduled = pods.Unscheduled > 0 ? ` (${pods.Unscheduled} without a node)` : '';
  return [
    `Master ${masterVersion}: ${nodes} ${nodes === 1 ? 'node' : 'nodes'}, ${ready} ready, ${nodes - ready} not, ${connected} connected`,
    `Pods: ${phases.length > 0 ? phases.join(', ') : 'none'}${unscheduled}`,
  ];
}

function nodeCells({ name, state, cordoned, connected, since, lastSeen, lag, version, pods }: FleetNode, nowMs: number): string[] {
  const age = (time: string | undefined): string => (time ? humanDuration(Math.max(0, nowMs - Date.parse(time))) : '<unknown>');
  return [
    name, cordoned ? `${state},SchedulingDisabled` : state, connected ? age(since) : 'no', connected ? 'now' : lastSeen ? `${age(lastSeen)} ago` : '<unknown>',
    connected ? String(lag) : '-', version || '<unknown>', `${pods.running}/${pods.total}`,
  ];
}

/** Columns as wide as their widest cell, three blanks apart as kubectl has them. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = heading.map((_, column) => rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0));
  return rows.map((row) => row.map((cell, column) => cell.padEnd((widths[column] ?? 0) + 3)).join('').trimEnd());
}

/** A change as lines for a log: one per node that is new, gone, or differs in what matters. */
export function changeLines({ changed, removed, snapshot, fleet }: FleetChange, nowMs: number): string[] {
  const time = new Date(nowMs).toISOString().slice(0, 19);
  const stamp = (text: string): string => `${time}Z ${text}`;
  if (snapshot) return [stamp(headLines({ ...fleet, nodes: [], nowMs }).join('; ')), ...[...fleet.nodes.values()].map((node) => stamp(`${node.name}: ${summary(node)}`))];
  return [
    ...changed.flatMap(({ node, before }) => (before && summary(before) === summary(node) ? [] : [stamp(`${node.name}: ${summary(node)}${before ? ` (was ${summary(before)})` : ' (new)'}`)])),
    ...removed.map(({ name }) => stamp(`${name}: removed`)),
  ];
}

const summary = ({ state, connected, lag, pods, version }: FleetNode): string =>
  `${state}, ${connected ? 'connected' : 'not connected'}${connected && lag > 0 ? `, ${lag} behind` : ''}, ${pods.running}/${pods.total} pods${version ? `, agent ${version}` : ''}`;

/** Escape sequences that draw lines over what was drawn before, without flicker: home, each line cleared to its end, the rest cleared. */
export const redraw = (lines: readonly string[]): string => `\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\n')}\x1b[J`;
/** A screen of its own without a cursor, and the way back. */
export const enterScreen = '\x1b[?1049h\x1b[?25l';
export const leaveScreen = '\x1b[?25h\x1b[?1049l';
