import { spawn, type ChildProcess } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { Pod } from '../../shared/kinds/pod.ts';
import { seeded, type Random } from '../property/random.ts';
import { run, until, type Lab } from './lab.ts';

export const image = 'wherry-test/busybox:1';

const relayScript = `const net = require('node:net');
net.createServer((a) => { const b = net.connect(6443, '10.99.0.254'); a.pipe(b); b.pipe(a); a.on('error', () => b.destroy()); b.on('error', () => a.destroy()); })
  .listen(process.argv[1], () => process.stdout.write('ready\\n'));`;

/** The master's API for tests that ask for much: a connection that is kept, where kubectl makes a process per question. */
export class Api {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #socketPath: string;
  readonly #credentials: { ca: string; cert: string; key: string };
  readonly #relay: ChildProcess;

  private constructor(socketPath: string, credentials: { ca: string; cert: string; key: string }, relay: ChildProcess) {
    this.#socketPath = socketPath;
    this.#credentials = credentials;
    this.#relay = relay;
  }

  static async open(lab: Lab): Promise<Api> {
    const text = await readFile(lab.kubeconfig, 'utf8');
    const pem = (key: string): string => Buffer.from(new RegExp(`${key}: (\\S+)`).exec(text)?.[1] ?? '', 'base64').toString();
    const socketPath = join(lab.directory, 'api.sock');
    const relay = spawn('nsenter', [`--net=/run/netns/${lab.prefix}0`, '--', process.execPath, '-e', relayScript, socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => { relay.stdout.once('data', resolve); relay.once('exit', reject); });
    return new Api(socketPath, { ca: pem('certificate-authority-data'), cert: pem('client-certificate-data'), key: pem('client-key-data') }, relay);
  }

  /**
   * Asks again for some seconds while no master answers, as after its restart.
   * @throws Error with the Status' message for an answer that is none of success
   */
  async ask<T>(method: string, path: string, body?: unknown, type = 'application/json'): Promise<T> {
    const deadline = performance.now() + 10_000;
    for (;;) {
      try {
        return await this.#askOnce<T>(method, path, body, type);
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'ECONNRESET' || performance.now() > deadline) throw error;
        await pause(200);
      }
    }
  }

  #askOnce<T>(method: string, path: string, body: unknown, type: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = request({
        method, path, agent: this.#agent, socketPath: this.#socketPath, servername: 'kubernetes.default.svc', ...this.#credentials,
        headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': type }) },
      }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('error', reject).on('end', () => {
          if ((answer.statusCode ?? 500) < 300) resolve(JSON.parse(text) as T);
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 500)}`));
        });
      });
      call.on('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async pods(node?: string): Promise<Pod[]> {
    const { items } = await this.ask<{ items: Pod[] }>('GET', '/api/v1/namespaces/default/pods');
    return items.filter(({ spec }) => node === undefined || spec.nodeName === node);
  }

  pod(name: string): Promise<Pod> {
    return this.ask('GET', `/api/v1/namespaces/default/pods/${name}`);
  }

  createPod(name: string, spec: object = {}, metadata: object = {}): Promise<Pod> {
    return this.ask('POST', '/api/v1/namespaces/default/pods', podDocument(name, spec, metadata));
  }

  deletePod(name: string, graceSeconds = 1): Promise<unknown> {
    return this.ask('DELETE', `/api/v1/namespaces/default/pods/${name}?gracePeriodSeconds=${graceSeconds}`);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await new Promise((resolve) => { this.#relay.once('exit', resolve); this.#relay.kill('SIGKILL'); });
  }
}

export const podDocument = (name: string, spec: object = {}, metadata: object = {}): object => ({
  metadata: { name, ...metadata },
  spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, command: ['stay'] }], ...spec },
});

export const isReady = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

/** A container as the engine sees it. */
export interface Seen { readonly id: string; readonly uid: string; readonly container: string; readonly pod: string; readonly state: string; readonly startedAt: string }

/** All containers of pods on a host. */
export async function containersOn(lab: Lab, host: number): Promise<Seen[]> {
  const ids = (await lab.docker(host, 'ps', '-aq', '--no-trunc', '--filter', 'label=io.wherry.owner')).split('\n').filter(Boolean);
  if (ids.length === 0) return [];
  const format = '{{.Id}}\t{{index .Config.Labels "io.kubernetes.pod.uid"}}\t{{index .Config.Labels "io.kubernetes.container.name"}}\t{{index .Config.Labels "io.kubernetes.pod.name"}}\t{{.State.Status}}\t{{.State.StartedAt}}';
  // One that is removed in between is of no interest.
  const text = await lab.docker(host, 'inspect', '--format', format, ...ids).catch((error: { stdout?: string }) => error.stdout ?? '');
  return text.split('\n').filter(Boolean).map((line) => {
    const [id = '', uid = '', container = '', pod = '', state = '', startedAt = ''] = line.split('\t');
    return { id, uid, container, pod, state, startedAt };
  });
}

/** Processes of containers that run by the kernel, and not by the engine: `POD-ID pid`. */
async function straysOn(lab: Lab, host: number, running: ReadonlySet<string>): Promise<string[]> {
  const group = new RegExp(`/${lab.prefix}${host}/([0-9a-f]{64})`);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map(async (pid) => {
    const id = group.exec(await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => ''))?.[1];
    return id === undefined || running.has(id) ? [] : [`${id.slice(0, 12)} ${pid}`];
  }));
  return found.flat();
}

/** What is wrong with a host by what the master wants of it; `''` when nothing is. */
export async function difference(api: Api, lab: Lab, host: number): Promise<string> {
  const [wanted, all] = [await api.pods(`node${host}`), await containersOn(lab, host)];
  const bad = wanted.filter((pod) => pod.metadata.deletionTimestamp || !isReady(pod)).map(({ metadata, status }) => `${metadata.name} ${metadata.deletionTimestamp ? 'is being deleted' : status?.phase}`);
  const running = all.filter(({ state }) => state === 'running');
  for (const pod of wanted) {
    for (const name of ['POD', ...pod.spec.containers.map((container) => container.name)]) {
      const count = running.filter(({ uid, container }) => uid === pod.metadata.uid && container === name).length;
      if (count !== 1) bad.push(`${pod.metadata.name}/${name} runs ${count} times`);
    }
  }
  for (const stray of await straysOn(lab, host, new Set(running.map(({ id }) => id)))) bad.push(`${stray} runs, and the engine does not know`);
  // Dead: the engine itself fails to remove it.
  for (const { uid, pod, container, state } of all) if (state !== 'dead' && !wanted.some(({ metadata }) => metadata.uid === uid)) bad.push(`${pod}/${container} is ${state}, and nobody wants it`);
  return bad.join('; ');
}

export async function converged(api: Api, lab: Lab, host: number, timeoutMs = 120_000): Promise<void> {
  let last = '';
  await until('the node is as the master wants it', timeoutMs, async () => {
    last = await difference(api, lab, host);
    if (last) throw new Error(last);
    return true;
  }, 500).catch(async (error: Error) => { throw new Error(`${error.message}\n${await told(lab, host, last)}`); });
}

/** What agent and engine wrote of the containers and pods that `difference` names. */
async function told(lab: Lab, host: number, what: string): Promise<string> {
  const names = new Set(what.split(/[ ;/]+/).filter((word) => /^[0-9a-f]{12}$/.test(word) || word.includes('-')));
  const logs = await Promise.all([join(lab.directory, 'logs', `agent${host}.log`), join(lab.engines, String(host), 'log')].map((path) => readFile(path, 'utf8').catch(() => '')));
  const shims = await run('ps', ['axww', '-o', 'pid,ppid,lstart,args']).catch(() => '');
  return [...logs.map((text) => text.split('\n')), shims.split('\n')].flatMap((lines) => lines.filter((line) => [...names].some((name) => line.includes(name))).slice(-60)).map((line) => line.slice(0, 600)).join('\n');
}

/** Sees every start and end of a container on a host. */
export class Witness {
  readonly events: { readonly action: string; readonly key: string; readonly pod: string }[] = [];
  readonly #child: ChildProcess;

  constructor(lab: Lab, host: number) {
    this.#child = spawn('docker', ['-H', `unix://${lab.engines}/${host}/docker.sock`, 'events', '--filter', 'type=container', '--filter', 'event=start', '--filter', 'event=die', '--format', '{{json .}}'], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const { Action: action, Actor: { Attributes: labels } } = JSON.parse(line) as { Action: string; Actor: { Attributes: Record<string, string> } };
      this.events.push({ action, key: `${labels['io.kubernetes.pod.name']}/${labels['io.kubernetes.pod.uid']}/${labels['io.kubernetes.container.name']}`, pod: labels['io.kubernetes.pod.name'] ?? '' });
    });
  }

  /** Containers that were started more than once: restarted, or twice at a time. */
  startedTwice(): string[] {
    const starts = new Map<string, number>();
    for (const { action, key } of this.events) if (action === 'start') starts.set(key, (starts.get(key) ?? 0) + 1);
    return [...starts].filter(([, count]) => count > 1).map(([key, count]) => `${key} ${count} times`);
  }

  /** Pods of which something ended. */
  ended(): Set<string> {
    return new Set(this.events.filter(({ action }) => action === 'die').map(({ pod }) => pod));
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => { this.#child.once('exit', resolve); this.#child.kill('SIGKILL'); });
  }
}

/** Things that users do, all the time and at random: pods, config maps and services come, change and go. */
export class Churn {
  readonly deleted = new Set<string>();
  steps = 0;
  readonly #api: Api;
  readonly #node: string;
  readonly #random: Random;
  readonly #prefix: string;
  readonly #live: string[] = [];
  readonly #services: string[] = [];
  #serial = 0;
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(api: Api, node: string, seed: number) {
    this.#api = api;
    this.#node = node;
    this.#random = seeded(seed);
    this.#prefix = `churn-${seed}`;
  }

  start(everyMs: number): void {
    this.#running = (async () => {
      while (!this.#stopped) {
        await this.step();
        await new Promise((wake) => setTimeout(wake, everyMs));
      }
    })();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async step(): Promise<void> {
    this.steps++;
    const choice = this.#random.below(6);
    if (choice <= 1 && this.#live.length < 12) await this.#create();
    else if (choice <= 3 && this.#live.length > 2) await this.#delete();
    else if (choice === 4) await this.#touchConfigMap();
    else await this.#service();
  }

  async #create(): Promise<void> {
    const name = `${this.#prefix}-${this.#serial++}`;
    const containers = ['one', 'two'].slice(0, 1 + this.#random.below(2)).map((container) => ({ name: container, image, command: ['stay'], volumeMounts: [{ name: 'settings', mountPath: '/settings' }] }));
    await this.#api.createPod(name, { nodeName: this.#node, containers, volumes: [{ name: 'settings', configMap: { name: 'settings', optional: true } }] }, { labels: { app: `churn-${this.#random.below(3)}` } });
    this.#live.push(name);
  }

  async #delete(): Promise<void> {
    const [name] = this.#live.splice(this.#random.below(this.#live.length), 1);
    this.deleted.add(name!);
    await this.#api.deletePod(name!, this.#random.below(3));
  }

  async #touchConfigMap(): Promise<void> {
    const data = { n: String(this.steps) };
    await this.#api.ask('PATCH', '/api/v1/namespaces/default/configmaps/settings', { data }, 'application/merge-patch+json')
      .catch(() => this.#api.ask('POST', '/api/v1/namespaces/default/configmaps', { metadata: { name: 'settings' }, data }));
  }

  async #service(): Promise<void> {
    const spec = { selector: { app: `churn-${this.#random.below(3)}` }, ports: [{ port: 80 + this.#random.below(3) }] };
    if (this.#services.length < 5) {
      const name = `${this.#prefix}-${this.#services.length}`;
      await this.#api.ask('POST', '/api/v1/namespaces/default/services', { metadata: { name }, spec });
      this.#services.push(name);
    } else await this.#api.ask('PATCH', `/api/v1/namespaces/default/services/${this.#random.one(this.#services)}`, { spec }, 'application/merge-patch+json');
  }
}

/** Ends a host's dockerd as the kernel's out-of-memory killer would; its containers are not asked. */
export async function killEngine(lab: Lab, host: number): Promise<void> {
  const pid = Number(await readFile(join(lab.engines, String(host), 'pid'), 'utf8'));
  process.kill(pid, 'SIGKILL');
  await until('dockerd is gone', 20_000, async () => run('docker', ['-H', `unix://${lab.engines}/${host}/docker.sock`, 'version'], { timeoutMs: 5000 }).then(() => false, () => true));
}

/** What an agent wrote to its log. */
export const agentLog = (lab: Lab, host: number): Promise<string> => readFile(join(lab.directory, 'logs', `agent${host}.log`), 'utf8');

export const pause = (ms: number): Promise<void> => new Promise((wake) => { setTimeout(wake, ms); });

/** Fetches a page from a host, over whatever routes that host has. */
export const fetchOn = (lab: Lab, host: number, url: string): Promise<string> =>
  lab.on(host, process.execPath, '-e', 'fetch(process.argv[1], { signal: AbortSignal.timeout(5000) }).then((a) => a.text()).then((t) => process.stdout.write(t)).catch((e) => { console.error(e.cause?.message ?? e.message); process.exit(1); })', url);
