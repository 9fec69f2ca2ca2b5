import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podLine } from '../../../agent/ops/pod-line.ts';
import { exitCodeOf, type AgentStatus } from '../../../agent/ops/status.ts';
import { bytesText, statusText } from '../../../agent/ops/status-text.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('agent status text');
const nowMs = Date.parse('2026-01-02T12:00:00Z');

const connected: AgentStatus = {
  state: 'connected', version: '0.1.0', node: 'edge-7', dataDir: '/var/lib/wherry/agent', pid: 812, started: '2026-01-02T10:00:00Z', master: 'https://m.example:6443',
  link: { phase: 'connected', since: '2026-01-02T11:48:00Z', sessions: 3, bytesSent: 48_211, bytesReceived: 91_034, lastError: { message: 'connection closed (1006)', at: '2026-01-02T11:47:58Z' } },
  held: { epoch: 'e1', revision: 3128, items: 211 }, certificate: { notAfter: '2026-12-01T00:00:00Z' },
  pods: [{ namespace: 'default', name: 'web-1', status: 'Running', phase: 'Running', ready: '1/1', restarts: 0 }],
  listeners: [
    { socket: 'TCP/10.96.0.10:80', service: 'default/web:80', state: 'open', backends: 2 },
    { socket: 'TCP/0.0.0.0:30080', service: 'default/web:80', state: 'failing', backends: 2, lastError: 'address in use' },
  ],
  serviceRange: { cidr: '10.96.0.0/16', local: true }, unsent: { pods: 0, events: 2, eventsDropped: 0 },
  flash: { journalBytes: 2048, processBytes: 40_960 }, memory: { residentBytes: 56_300_000, heapBytes: 7_800_000 }, problems: [],
};

test('one screen of a node that is well', () => {
  assert.is(statusText(connected, nowMs), `Node edge-7 is connected to https://m.example:6443 since 2026-01-02T11:48:00Z (12m)
  agent        version 0.1.0, process 812, started 120m ago, 56.3 MB resident, 7.8 MB of it heap
  link         48.2 kB sent, 91.0 kB received in 3 sessions; last error 12m ago: connection closed (1006)
  held         revision 3128 of epoch e1, 211 items; unsent: 2 events
  certificate  good until 2026-12-01 (332d)
  written      2.0 kB to disk by the state since the start, 41.0 kB by the whole process
  services     listeners: 1 open, 1 failing; 10.96.0.0/16 is local
               TCP/0.0.0.0:30080 (default/web:80): address in use

NAMESPACE   NAME    READY   STATUS    RESTARTS   LAST ERROR
default     web-1   1/1     Running   0
`);
});

test('the master is away', () => {
  const { link } = connected;
  const text = statusText({ ...connected, state: 'not connected', link: { ...link!, phase: 'waiting', since: '2026-01-02T11:59:00Z', nextTry: '2026-01-02T12:00:07Z' } }, nowMs);
  assert.match(text, /^Node edge-7 is not connected to https:\/\/m\.example:6443 since 2026-01-02T11:59:00Z \(60s\); its pods go on\n/);
  assert.match(text, /; next try in 7s; last error 12m ago: connection closed/);
  assert.match(statusText({ ...connected, state: 'not connected', pods: [], link: { ...link!, phase: 'enrolling' } }, nowMs), /^Node edge-7 is not enrolled yet; it asks https/);
});

test('no agent runs: what is known without it', () => {
  const stopped: AgentStatus = { state: 'not running', version: '0.1.0', node: 'edge-7', dataDir: '/d', master: 'https://m', held: connected.held, certificate: { notAfter: '2026-01-01T00:00:00Z' }, pods: connected.pods, problems: ['the journal is damaged'] };
  const text = statusText(stopped, nowMs);
  assert.match(text, /^Node edge-7 is not running \(its master is https:\/\/m\); this is what \/d tells\n/);
  assert.match(text, / {2}certificate {2}expired on 2026-01-01, 36h ago\n/);
  assert.match(text, / {2}problem {6}the journal is damaged\n/);
  assert.not.match(text, /undefined|NaN/);
  const nothing = statusText({ state: 'not running', version: '0.1.0', node: '', dataDir: '/d', held: { epoch: '', revision: 0, items: 0 }, pods: [], problems: [] }, nowMs);
  assert.is(nothing, 'No agent runs in /d, and none is enrolled there\n  held         nothing\n\nNo pods.\n');
});

test('more pods than a screen holds: those in trouble come first', () => {
  const pods = Array.from({ length: 60 }, (_, index) => ({ ...connected.pods[0]!, name: `web-${index}`, ...(index === 59 ? { status: 'CrashLoopBackOff', lastError: 'main: BackOff' } : {}) }));
  const lines = statusText({ ...connected, pods }, nowMs).split('\n');
  assert.ok(lines.length < 40);
  const first = lines.findIndex((line) => line.startsWith('NAMESPACE')) + 1;
  assert.match(lines[first]!, /web-59 .*CrashLoopBackOff.*main: BackOff$/);
  assert.match(lines.at(-2)!, /^… and 36 more; --json has all$/);
});

test('exit status', () => {
  assert.equal((['connected', 'not connected', 'not running'] as const).map((state) => exitCodeOf({ ...connected, state })), [0, 1, 2]);
});

test('sizes', () => {
  assert.equal([0, 999, 1000, 48_211, 99_960, 999_600, 1e9].map(bytesText), ['0 B', '999 B', '1.0 kB', '48.2 kB', '100 kB', '1.0 MB', '1.0 GB']);
});

test('a pod\'s line tells what keeps it from running, and how it last ended', () => {
  const pod = podOf('web', { containers: [{ name: 'main', image: 'a:1' }] });
  const status = (container: object) => ({ phase: 'Running' as const, containerStatuses: [{ name: 'main', ready: false, restartCount: 4, image: 'a:1', imageID: '', ...container }] });
  assert.equal(podLine(pod, undefined), { namespace: 'default', name: 'web', status: 'Pending', phase: 'Pending', ready: '0/1', restarts: 0 });
  const crashing = podLine(pod, status({ state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' } }, lastState: { terminated: { exitCode: 137, reason: 'OOMKilled', finishedAt: '2026-01-02T11:00:00Z' } } }));
  assert.equal([crashing.status, crashing.restarts, crashing.lastError], ['CrashLoopBackOff', 4, 'main: CrashLoopBackOff: back-off 10s; OOMKilled (exit code 137 at 2026-01-02T11:00:00Z)']);
  assert.is(podLine(pod, status({ ready: true, state: { running: {} } })).lastError, undefined);
  assert.is(podLine(pod, status({ state: { waiting: { reason: 'ContainerCreating' } } })).lastError, undefined);
  assert.is(podLine(pod, { phase: 'Failed', reason: 'Evicted', message: 'disk' }).lastError, 'Evicted: disk');
});

test('cluster DNS is a line of its own once there is one', () => {
  const dns = { address: '10.96.0.10', domain: 'cluster.local', listening: ['UDP/10.96.0.10:53'], queries: 812, forwarded: 90, failed: 1 };
  const line = (text: string): string => (text.split('\n').find((one) => /^ +dns /.test(one)) ?? '').trim().replace(/ +/g, ' ');
  assert.is(line(statusText(connected, nowMs)), '');
  assert.is(line(statusText({ ...connected, dns }, nowMs)), 'dns cluster.local on UDP/10.96.0.10:53; 812 questions, 90 passed on, 1 of them not answered');
  assert.match(line(statusText({ ...connected, dns: { ...dns, listening: [] } }, nowMs)), /^dns NOT served: nothing listens on 10\.96\.0\.10;/);
});

test.run();
