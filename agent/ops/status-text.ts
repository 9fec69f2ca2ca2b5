import { humanDuration } from '../../shared/time.ts';
import type { AgentStatus, PodLine } from './status.ts';

/** Pods, and listeners in trouble, that one screen has room for; `--json` has all. */
const maxPods = 24;
const maxListeners = 5;

/** One screen of an agent's status, with a newline at its end. */
export function statusText(status: AgentStatus, nowMs: number): string {
  const facts: [string, string | undefined][] = [
    ['agent', agentLine(status, nowMs)], ['link', linkLine(status, nowMs)], ['held', heldLine(status)],
    ['certificate', certificateLine(status, nowMs)], ['written', writtenLine(status)], ['dns', dnsLine(status)], ['services', servicesLine(status)],
  ];
  const width = Math.max(...facts.map(([name]) => name.length)) + 2;
  const lines = [
    headline(status, nowMs),
    ...facts.flatMap(([name, text]) => (text ? [`  ${name.padEnd(width)}${text}`] : [])),
    ...failingListeners(status).map((text) => `  ${''.padEnd(width)}${text}`),
    ...status.problems.map((text) => `  ${'problem'.padEnd(width)}${text}`),
    ...podLines(status.pods),
  ];
  return `${lines.join('\n')}\n`;
}

const ago = (time: string, nowMs: number): string => `${humanDuration(Math.max(0, nowMs - Date.parse(time)))} ago`;

/** `12 B`, `3.4 kB`, `31 MB`: decimal, as data plans and disks are sold. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** The one line that matters most. */
export function headline(status: AgentStatus, nowMs: number): string {
  const { state, node, master, link, dataDir } = status;
  const who = node ? `Node ${node}` : 'This node';
  const whom = master ?? 'its master';
  if (state === 'not running') return node ? `${who} is not running (its master is ${whom}); this is what ${dataDir} tells` : `No agent runs in ${dataDir}, and none is enrolled there`;
  if (state === 'connected') return `${who} is connected to ${whom} since ${link?.since} (${humanDuration(nowMs - Date.parse(link?.since ?? ''))})`;
  if (link?.phase === 'enrolling') return `${who} is not enrolled yet; it asks ${whom} to let it in since ${link.since}`;
  return `${who} is not connected to ${whom}${link ? ` since ${link.since} (${humanDuration(nowMs - Date.parse(link.since))})` : ''}; its pods go on`;
}

function agentLine({ version, pid, started, memory }: AgentStatus, nowMs: number): string | undefined {
  if (pid === undefined) return undefined;
  const since = started ? `, started ${ago(started, nowMs)}` : '';
  const use = memory ? `, ${bytesText(memory.residentBytes)} resident, ${bytesText(memory.heapBytes)} of it heap` : '';
  return `version ${version}, process ${pid}${since}${use}`;
}

function linkLine({ link }: AgentStatus, nowMs: number): string | undefined {
  if (!link) return undefined;
  const parts = [`${bytesText(link.bytesSent)} sent, ${bytesText(link.bytesReceived)} received in ${link.sessions === 1 ? '1 session' : `${link.sessions} sessions`}`];
  if (link.nextTry) parts.push(`next try in ${humanDuration(Math.max(0, Date.parse(link.nextTry) - nowMs))}`);
  if (link.lastError) parts.push(`last error ${ago(link.lastError.at, nowMs)}: ${link.lastError.message}`);
  return parts.join('; ');
}

const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;

function heldLine({ held, unsent }: AgentStatus): string {
  const what = held.revision === 0 ? 'nothing' : `revision ${held.revision}${held.epoch ? ` of epoch ${held.epoch}` : ''}, ${held.items} items`;
  if (!unsent) return what;
  const waiting = [unsent.pods > 0 ? counted(unsent.pods, 'pod status', 'pod statuses') : '', unsent.events > 0 ? counted(unsent.events, 'event', 'events') : '', unsent.eventsDropped > 0 ? `(${counted(unsent.eventsDropped, 'event', 'events')} dropped)` : ''].filter(Boolean);
  return `${what}; unsent: ${waiting.length > 0 ? waiting.join(', ') : 'nothing'}`;
}

function certificateLine({ certificate }: AgentStatus, nowMs: number): string | undefined {
  if (!certificate) return undefined;
  const leftMs = Date.parse(certificate.notAfter) - nowMs;
  const day = certificate.notAfter.slice(0, 10);
  return leftMs < 0 ? `expired on ${day}, ${humanDuration(-leftMs)} ago` : `good until ${day} (${humanDuration(leftMs)})`;
}

function writtenLine({ flash }: AgentStatus): string | undefined {
  if (!flash) return undefined;
  const all = flash.processBytes === undefined ? '' : `, ${bytesText(flash.processBytes)} by the whole process`;
  return `${bytesText(flash.journalBytes)} to disk by the state since the start${all}`;
}

function servicesLine({ listeners, serviceRange }: AgentStatus): string | undefined {
  if (!listeners) return undefined;
  const counts = (['open', 'opening', 'failing', 'empty'] as const).map((state) => [state, listeners.filter((one) => one.state === state).length] as const);
  const text = counts.filter(([, count]) => count > 0).map(([state, count]) => `${count} ${state === 'empty' ? 'without endpoints' : state}`).join(', ');
  const range = serviceRange ? `; ${serviceRange.cidr} is ${serviceRange.local ? '' : 'NOT '}local` : '';
  return `${text ? `listeners: ${text}` : 'no listeners'}${range}`;
}

function dnsLine({ dns }: AgentStatus): string | undefined {
  if (!dns) return undefined;
  const where = dns.listening.length > 0 ? `${dns.domain} on ${dns.listening.join(', ')}` : `NOT served: nothing listens on ${dns.address}`;
  return `${where}; ${counted(dns.queries, 'question', 'questions')}, ${dns.forwarded} passed on, ${dns.failed} of them not answered`;
}

function failingListeners({ listeners = [] }: AgentStatus): string[] {
  const failing = listeners.filter(({ state }) => state === 'failing');
  const shown = failing.slice(0, maxListeners).map(({ socket, service, lastError }) => `${socket} (${service}): ${lastError ?? 'failing'}`);
  return failing.length > maxListeners ? [...shown, `… and ${failing.length - maxListeners} more`] : shown;
}

function podLines(pods: readonly PodLine[]): string[] {
  if (pods.length === 0) return ['', 'No pods.'];
  const troubled = (pod: PodLine): number => (pod.lastError ? 0 : pod.phase === 'Running' || pod.phase === 'Succeeded' ? 2 : 1);
  // All in their order when they fit; else those in trouble come first.
  const shown = pods.length <= maxPods ? pods : [...pods].sort((a, b) => troubled(a) - troubled(b)).slice(0, maxPods);
  const rows = [['NAMESPACE', 'NAME', 'READY', 'STATUS', 'RESTARTS', 'LAST ERROR'], ...shown.map((pod) => [pod.namespace, pod.name, pod.ready, pod.status, String(pod.restarts), pod.lastError ?? ''])];
  return ['', ...table(rows), ...(shown.length < pods.length ? [`… and ${pods.length - shown.length} more; --json has all`] : [])];
}

/** Columns as wide as their widest cell, three blanks apart as kubectl has them. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd((widths[column] ?? 0) + 3)).join('').trimEnd());
}
