import { Attach, CoreV1Api, Exec, KubeConfig, Log, PortForward, type V1Status } from '@kubernetes/client-node';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clients, freePort, Kubectl, type Answer, type Client } from './kubectl-support.ts';
import { buildBusybox, kubectlPath, run, until } from './lab.ts';

/** exec, attach, port-forward, cp and logs with three generations of kubectl and client-node; one node, this machine's engine. */
const test = suite('streams');
const masterProgram = fileURLToPath(new URL('../../master/main.js', import.meta.url));
const agentProgram = fileURLToPath(new URL('../../agent/main.js', import.meta.url));
/** Chosen when the tests start, as others may be running on this machine. */
let port = 0;
let services = '';
/** Differs from run to run and case to case. */
let mark = process.pid;
const image = 'wherry-test/busybox:1';

let directory = '';
let kubeconfig = '';
let master: ChildProcess;
let agent: ChildProcess;
const kubectls = new Map<Client, Kubectl>();
const paths = new Map<Client, string>();
const of = (name: Client): Kubectl => kubectls.get(name)!;
const [oldest, , newest] = clients;

const pod = (name: string, script: string, more: object = {}): object => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } },
  spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', script], ...more }] },
});

test.before(async () => {
  await buildBusybox();
  directory = await mkdtemp(join(tmpdir(), 'wherry-streams-'));
  const masterData = join(directory, 'master');
  kubeconfig = join(masterData, 'admin.kubeconfig');
  const log = createWriteStream(join(directory, 'log'));
  const start = (...args: string[]): ChildProcess => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    return child;
  };
  port = await freePort();
  services = `10.${64 + (port % 64)}.${port % 250}.0/24`;
  master = start(masterProgram, 'master', '--data-dir', masterData, '--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--port', String(port), '--service-cidr', services);
  const path = await kubectlPath();
  await until('the master is ready', 60_000, () => run(path, ['--kubeconfig', kubeconfig, 'get', '--raw', '/readyz']).then((text) => text.startsWith('ok')));
  const token = (await run(process.execPath, [masterProgram, 'token', 'create', '--data-dir', masterData])).trim();
  agent = start(agentProgram, '--master', `wss://127.0.0.1:${port}`, '--token', token, '--node-name', 'streams', '--node-ip', '127.0.0.1', '--data-dir', join(directory, 'agent'));
  for (const name of clients) {
    paths.set(name, await kubectlPath(name));
    kubectls.set(name, new Kubectl({ name, path: paths.get(name)!, kubeconfig, namespace: 'default', files: directory }));
  }
  // Takes any upgrade, and echoes from then on.
  const switching = 'while read line && [ ${#line} -gt 1 ]; do :; done; printf "HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n"; exec cat';
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] } };
  const server = 'mkdir -p /w/cgi-bin /w/below; echo hello >/w/index.html; echo deep >/w/below/index.html; printf "#!/bin/sh\\necho Content-Type: text/plain; echo; exec cat" >/w/cgi-bin/echo; chmod 755 /w/cgi-bin/echo; httpd -p 8080 -h /w; nc -ll -p 9000 -e sh -c "$1" & trap "exit 0" TERM; while true; do sleep 1; done';
  await apply(pod('web', server, { args: ['sh', switching], ports: [{ containerPort: 8080 }] }), service, pod('talk', 'echo out $0; sleep 1; echo err >&2; trap "exit 0" TERM; while true; do sleep 1; done'));
  await of(newest).ok('wait', '--for=condition=Ready', 'pod/web', 'pod/talk', '--timeout=90s');
});

test.after(async () => {
  for (const child of [agent, master]) {
    if (!child || child.exitCode !== null) continue;
    const ended = new Promise((resolve) => { child.once('exit', resolve); });
    child.kill('SIGTERM');
    await ended;
  }
  await run('bash', ['-c', 'docker ps -aq --filter "label=io.wherry.owner=$0" | xargs -r docker rm -f', join(directory, 'agent')]);
  await run('ip', ['route', 'del', 'local', services, 'dev', 'lo']).catch(() => '');
  await rm(directory, { recursive: true, force: true });
});

async function apply(...documents: readonly object[]): Promise<void> {
  await of(newest).with({ input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }) }, 'apply', '-f', '-');
}

/** Runs a kubectl with bytes from a file to a file; resolves with its exit code. */
function piped(name: Client, args: readonly string[], input: string, output: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(paths.get(name)!, ['--kubeconfig', kubeconfig, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    createReadStream(input).pipe(child.stdin).on('error', () => {});
    child.stdout.pipe(createWriteStream(output)).on('finish', () => {});
    child.on('error', reject).on('close', (code) => resolve(code ?? -1));
  });
}

/** Runs a kubectl with a terminal of 91 columns and 33 rows. */
function inTerminal(name: Client, ...args: readonly string[]): Promise<Answer> {
  const quoted = [paths.get(name)!, '--kubeconfig', kubeconfig, ...args].map((word) => `'${word}'`).join(' ');
  return new Promise((resolve) => {
    const child = execFile('script', ['-qec', `stty cols 91 rows 33; ${quoted}`, '/dev/null'], { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 128) : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function randomFile(name: string, megabytes: number): Promise<string> {
  const path = join(directory, name);
  await run('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${megabytes}`], { timeoutMs: 120_000 });
  return path;
}

for (const name of clients) {
  test(`${name}: exec has output, errors apart, input and exit codes`, async () => {
    const kubectl = of(name);
    assert.is(await kubectl.ok('exec', 'web', '--', 'echo', 'hi there'), 'hi there\n');
    const failed = await kubectl.run(['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3']);
    assert.is(failed.stdout, 'out\n');
    assert.match(failed.stderr, /^err\ncommand terminated with exit code 3\n$/);
    assert.is(failed.code, 3);
    assert.is((await kubectl.run(['exec', '-i', 'web', '--', 'sh', '-c', 'cat; echo end'], { input: 'some input\n' })).stdout, 'some input\nend\n');
    assert.match((await kubectl.run(['exec', 'web', '--', 'nosuch'])).stderr, /exec: "nosuch": executable file not found in \$PATH/);
    assert.match((await kubectl.run(['exec', 'none', '--', 'ls'])).stderr, /pods "none" not found/);
    assert.match((await kubectl.run(['exec', 'web', '-c', 'none', '--', 'ls'])).stderr, /container none is not valid for pod web/);
  });

  test(`${name}: a terminal, its size and its exit code`, async () => {
    const { stdout, code } = await inTerminal(name, 'exec', '-it', 'web', '--', 'sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9; do [ "$(stty size)" = "33 91" ] && break; sleep 0.2; done; stty size; tty; exit 4');
    assert.match(stdout, /33 91\r\n\/dev\/pts\/\d+\r\n/);
    assert.is(code, 4);
  });

  test(`${name}: large input and output arrive as they were sent`, async () => {
    const path = await randomFile('large', 32);
    assert.is(await piped(name, ['exec', '-i', 'web', '--', 'cat'], path, join(directory, 'echoed')), 0);
    assert.is(await digest(join(directory, 'echoed')), await digest(path));
  });

  test(`${name}: port-forward carries several connections at once, and says what fails`, async () => {
    const [local, refusing] = [await freePort(), await freePort()];
    const forward = of(name).start('port-forward', 'pod/web', `${local}:8080`, `${refusing}:81`);
    await until('the ports are open', 20_000, async () => forward.output().includes(`${refusing} -> 81`));
    const answers = await Promise.all(Array.from({ length: 8 }, () => page(local)));
    assert.ok(answers.every((answer) => answer.endsWith('hello\n')), answers[0]!);
    assert.is(await page(refusing), '');
    await until('the failure is told', 10_000, async () => forward.output().includes('connection refused'));
    assert.match(await forward.stop(), /error forwarding port 81 to pod web, uid [-0-9a-f]+: dial tcp4 [\d.]+:81: connect: connection refused/);
  });

  test(`${name}: run with a terminal or with input, attached and removed`, async () => {
    const given = await of(name).run(['run', 'piped', `--image=${image}`, '--image-pull-policy=Never', '--restart=Never', '--rm', '-i', '--command', '--', 'sh', '-c', 'read line; echo got $line; exit 5'], { input: 'a line\n' });
    assert.match(given.stdout, /got a line\n/);
    assert.is(given.code, 5);
    const { stdout, code } = await inTerminal(name, 'run', 'seen', `--image=${image}`, '--image-pull-policy=Never', '--restart=Never', '--rm', '-it', '--command', '--', 'sh', '-c', 'sleep 3; stty size');
    assert.match(stdout, /33 91\r\n/);
    assert.is(code, 0);
    assert.is(await of(name).ok('get', 'pods', 'piped', 'seen', '--ignore-not-found'), '');
  });

  test(`${name}: a client that goes away ends its command`, async () => {
    const marker = `sleep ${100_000 + mark}`;
    const alive = async (): Promise<boolean> => (await of(newest).ok('exec', 'web', '--', 'ps')).includes(marker);
    for (const input of [false, true]) {
      const child = spawn(paths.get(name)!, ['--kubeconfig', kubeconfig, 'exec', ...(input ? ['-i'] : []), 'web', '--', ...marker.split(' ')], { stdio: ['pipe', 'ignore', 'ignore'] });
      child.stdin.on('error', () => {});
      // More than anybody on the way takes while the command reads nothing.
      if (input) child.stdin.write(Buffer.alloc(8_000_000));
      await until('the command runs', 20_000, alive);
      child.kill('SIGKILL');
      await until('the command is gone', 45_000, async () => !await alive());
    }
    mark++;
  });

  test(`${name}: logs`, async () => {
    const kubectl = of(name);
    assert.is(await kubectl.ok('logs', 'talk'), 'out sh\nerr\n');
    assert.is(await kubectl.ok('logs', '-l', 'app=talk', '--prefix', '--all-containers', '--tail=1'), '[pod/talk/main] err\n');
    assert.is(await kubectl.ok('logs', 'talk', '--limit-bytes=5'), 'out s');
    assert.is(await kubectl.ok('logs', 'talk', '--since=1s'), '');
    assert.is(await kubectl.ok('logs', 'talk', `--since-time=${new Date(Date.now() + 60_000).toISOString()}`), '');
    assert.match(await kubectl.ok('logs', 'talk', '--timestamps', '--tail=1'), /^\d{4}-\d\d-\d\dT[\d:]+\.\d+Z err\n$/);
    assert.match(await kubectl.fails('logs', 'talk', '--previous'), /previous terminated container "main" in pod "talk" not found/);
  });
}

/** What a web server answers; '' when the connection ends without an answer. */
function page(to: number): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(to, '127.0.0.1', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', (chunk: Buffer) => { text += chunk.toString(); }).on('error', () => {}).on('close', () => resolve(text));
  });
}

test('followed logs end with their container, and go on with the next one', async () => {
  await apply(pod('loop', 'i=0; while [ $i -lt 12 ]; do echo line $i; i=$((i+1)); sleep 0.25; done; exit 1'));
  await until('it has begun', 60_000, async () => (await of(newest).run(['logs', 'loop'])).stdout.includes('line 0'));
  const followed = (await of(newest).ok('logs', '-f', 'loop')).split('\n').filter(Boolean);
  assert.equal(followed, Array.from({ length: 12 }, (_, index) => `line ${index}`));
  await until('it has begun again', 60_000, async () => await of(newest).value('{.status.containerStatuses[0].restartCount}', 'pod', 'loop') !== '0');
  assert.is(await of(oldest).ok('logs', 'loop', '--previous', '--tail=1'), 'line 11\n');
  assert.match(await of(newest).ok('logs', '-f', 'loop', '--limit-bytes=6'), /^line 0/);
  await of(newest).ok('delete', 'pod', 'loop', '--grace-period=1');
});

test('attach shows what comes from now on, and leaves the container running', async () => {
  await apply(pod('ticker', 'while read line; do echo got $line; done', { stdin: true }));
  await of(newest).ok('wait', '--for=condition=Ready', 'pod/ticker', '--timeout=60s');
  for (const name of clients) {
    const child = spawn(paths.get(name)!, ['--kubeconfig', kubeconfig, 'attach', '-i', 'ticker'], { stdio: ['pipe', 'pipe', 'ignore'] });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => { seen += chunk.toString(); });
    child.stdin.write(`${name}\n`);
    await until('the answer is there', 20_000, async () => seen.includes(`got ${name}\n`));
    const ended = new Promise((resolve) => { child.once('exit', resolve); });
    child.kill('SIGKILL');
    await ended;
  }
  assert.is(await of(newest).value('{.status.phase}', 'pod', 'ticker'), 'Running');
  assert.is(await of(newest).ok('logs', 'ticker'), clients.map((name) => `got ${name}\n`).join(''));
});

/** Much more than anybody on the way holds; `npm run bench -- streams` takes a gigabyte. */
const cpMB = 256;

/** Largest resident size since the last call, in MB. */
async function peakMB({ pid }: ChildProcess): Promise<number> {
  const peak = Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
  await writeFile(`/proc/${pid}/clear_refs`, '5');
  return peak;
}

test('cp of 256 MB both ways: intact, and neither master nor agent grows', async () => {
  const path = await randomFile('large', cpMB);
  const sum = await digest(path);
  for (const [name, megabytes] of [[oldest, 16], [newest, 16], ['kubectl-1.32', cpMB]] as const) {
    const source = megabytes === cpMB ? path : await randomFile('some', megabytes);
    const before = [await peakMB(master), await peakMB(agent)];
    const steady = [await peakMB(master), await peakMB(agent)];
    const back = join(directory, 'back');
    for (const args of [['cp', source, 'web:/tmp/copied'], ['cp', 'web:/tmp/copied', back]]) {
      const answer = await of(name).run(args, { timeoutMs: 600_000 });
      assert.is(answer.code, 0, answer.stderr);
    }
    const grown = [await peakMB(master) - steady[0]!, await peakMB(agent) - steady[1]!];
    assert.is(await digest(back), megabytes === cpMB ? sum : await digest(source));
    assert.is((await stat(back)).size, megabytes * 1024 * 1024);
    assert.ok(grown.every((mb) => mb < 60), `${name}: master and agent grew by ${grown.map(Math.round).join(' and ')} MB from ${before.map(Math.round).join(' and ')}`);
    await rm(back);
  }
  await rm(path);
  await of(newest).ok('exec', 'web', '--', 'rm', '/tmp/copied');
});

test('client-node: Exec, Attach, PortForward, Log, proxies', async () => {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const collect = (): { stream: PassThrough; text: () => string } => {
    const parts: Buffer[] = [];
    const stream = new PassThrough();
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    return { stream, text: () => Buffer.concat(parts).toString() };
  };
  const [out, err, input] = [collect(), collect(), new PassThrough()];
  const status = new Promise<V1Status>((resolve, reject) => {
    new Exec(config).exec('default', 'web', 'main', ['sh', '-c', 'cat; echo oops >&2; exit 7'], out.stream, err.stream, input, false, resolve).then(() => input.end('given'), reject);
  });
  const { reason, details } = await status;
  assert.equal([reason, details?.causes?.[0]?.reason, details?.causes?.[0]?.message], ['NonZeroExitCode', 'ExitCode', '7']);
  assert.equal([out.text(), err.text()], ['given', 'oops\n']);

  const attached = collect();
  const typed = new PassThrough();
  const socket = await new Attach(config).attach('default', 'ticker', 'main', attached.stream, null, typed, false);
  typed.write('node\n');
  await until('the answer is there', 20_000, async () => attached.text().includes('got node'));
  (socket as { close(): void }).close();

  const [answer, request] = [collect(), new PassThrough()];
  await new PortForward(config).portForward('default', 'web', [8080], answer.stream, null, request);
  request.write('GET / HTTP/1.0\r\n\r\n');
  await until('the page is there', 20_000, async () => answer.text().endsWith('hello\n'));

  const log = collect();
  await new Log(config).log('default', 'talk', 'main', log.stream, { tailLines: 1 });
  await until('the log is there', 20_000, async () => log.text() === 'err\n');

  const core = config.makeApiClient(CoreV1Api);
  assert.is(await core.connectGetNamespacedPodProxyWithPath({ name: 'web:8080', namespace: 'default', path: 'index.html' }), 'hello\n');
  assert.is(await core.connectGetNamespacedServiceProxyWithPath({ name: 'web:http', namespace: 'default', path: 'index.html' }), 'hello\n');
  assert.is(await core.connectGetNodeProxyWithPath({ name: 'streams', path: 'healthz' }), 'ok');
});

test('a heartbeat and an assignment are not held up by a full stream', async () => {
  const child = spawn(paths.get(newest)!, ['--kubeconfig', kubeconfig, 'exec', 'web', '--', 'cat', '/dev/zero'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => { bytes += chunk.length; });
  await until('the stream is at speed', 20_000, async () => bytes > 50_000_000);
  await apply(pod('meanwhile', 'sleep 1000'));
  await of(newest).ok('wait', '--for=condition=Ready', 'pod/meanwhile', '--timeout=60s');
  assert.ok(bytes > 50_000_000);
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  child.kill('SIGKILL');
  await ended;
  await of(newest).ok('delete', 'pod', 'meanwhile', '--grace-period=1');
});

test('kubectl debug: a container comes into a running pod and sees the processes of another', async () => {
  for (const name of clients.slice(1)) {
    const container = `look-${clients.indexOf(name)}`;
    await of(name).ok('debug', 'web', '-q', `--image=${image}`, '--image-pull-policy=Never', '-c', container, '--target=main', '--', 'sh', '-c', 'ps -o args; sleep 1000');
    await until('its output is there', 30_000, async () => (await of(name).ok('logs', 'web', '-c', container)).includes('httpd -p 8080'));
    assert.match(await of(name).ok('exec', 'web', '-c', container, '--', 'cat', '/proc/1/cmdline'), /httpd/);
  }
  assert.equal((await of(newest).ok('get', 'pod', 'web', '-o', 'jsonpath={.status.ephemeralContainerStatuses[*].name} {.status.containerStatuses[0].restartCount}')).trim(), 'look-1 look-2 0');
});

for (const name of clients) {
  test(`${name}: proxies of pods, services and nodes`, async () => {
    const kubectl = of(name);
    const raw = (path: string): Promise<string> => kubectl.ok('get', '--raw', `/api/v1/${path}`);
    const inside = 'namespaces/default';
    for (const path of ['pods/web/proxy/', 'pods/web:8080/proxy/index.html', 'pods/http:web:8080/proxy/', 'services/web:http/proxy/', 'services/web:80/proxy/']) assert.is(await raw(`${inside}/${path}`), 'hello\n', path);
    assert.is(await raw('nodes/streams/proxy/healthz'), 'ok');
    const found = JSON.parse(await raw('nodes/streams/proxy/pods')) as { items: { metadata: { name: string }; status: { phase: string } }[] };
    assert.ok(found.items.some(({ metadata, status }) => metadata.name === 'web' && status.phase === 'Running'));
    const { pods: used } = JSON.parse(await raw('nodes/streams/proxy/stats/summary')) as { pods: { podRef: { name: string }; containers: { memory: { workingSetBytes: number } }[] }[] };
    assert.ok(used.find(({ podRef }) => podRef.name === 'web')!.containers[0]!.memory.workingSetBytes > 0);
    assert.match(await kubectl.fails('get', '--raw', `/api/v1/${inside}/pods/web:81/proxy/`), /error trying to reach service: dial tcp4 [\d.]+:81: connect: connection refused/);
    assert.match(await kubectl.fails('get', '--raw', `/api/v1/${inside}/services/web:81/proxy/`), /no service port 81 found for service "web"/);
  });

  test(`${name}: proxy, and through it redirects, large bodies and upgrades`, async () => {
    const local = await freePort();
    const proxy = of(name).start('proxy', `--port=${local}`);
    await until('the proxy serves', 20_000, async () => proxy.output().includes('Starting to serve'));
    const base = `/api/v1/namespaces/default/services/web:http/proxy`;
    const url = `http://127.0.0.1:${local}${base}`;
    assert.is(await (await fetch(url)).text(), 'hello\n');
    // Without its slash the folder is elsewhere, which only its server knows.
    const moved = await fetch(`${url}/below`, { redirect: 'manual' });
    assert.equal([moved.status, new URL(moved.headers.get('location')!, url).pathname], [302, `${base}/below/`]);
    assert.is(await (await fetch(`${url}/below`)).text(), 'deep\n');
    const body = randomBytes(20_000_000);
    const echoed = Buffer.from(await (await fetch(`${url}/cgi-bin/echo`, { method: 'POST', body })).arrayBuffer());
    assert.ok(echoed.equals(body), `${echoed.length} bytes came back: ${echoed.subarray(0, 300).toString()}`);
    const call = request({ port: local, host: '127.0.0.1', path: `/api/v1/namespaces/default/pods/web:9000/proxy/any`, headers: { Connection: 'Upgrade', Upgrade: 'echo' } }).end();
    const [, socket] = await once(call, 'upgrade') as [IncomingMessage, Socket];
    socket.write('over and');
    const [answer] = await once(socket, 'data') as [Buffer];
    assert.is(answer.toString(), 'over and');
    socket.destroy();
    await proxy.stop();
  });
}

test('followed logs lose nothing when the engine begins a new file', async () => {
  const lines = 150_000;
  await apply(pod('rotating', `sleep 5; seq 1 ${lines} | sed 's/$/ ${'x'.repeat(60)}/'; sleep 5; exit 0`));
  await of(newest).ok('wait', '--for=condition=Ready', 'pod/rotating', '--timeout=60s');
  const output = join(directory, 'rotated');
  assert.is(await piped(newest, ['logs', '-f', 'rotating'], '/dev/null', output), 0);
  const numbers = (await readFile(output, 'utf8')).trimEnd().split('\n').map((line) => Number(line.split(' ')[0]));
  assert.is(numbers.length, lines);
  assert.ok(numbers.every((number, index) => number === index + 1));
  await of(newest).ok('delete', 'pod', 'rotating', '--grace-period=1');
});

test('exec, attach and logs of what does not run', async () => {
  await apply({ ...pod('ended', 'echo bye; exit 2'), spec: { restartPolicy: 'Never', initContainers: [{ name: 'first', image, imagePullPolicy: 'Never', command: ['echo', 'from init'] }], containers: [{ name: 'main', image, imagePullPolicy: 'Never', command: ['sh', '-c', 'echo bye; exit 2'] }] } });
  await apply({ ...pod('nowhere', ''), spec: { nodeSelector: { no: 'such' }, containers: [{ name: 'main', image }] } }, { ...pod('imageless', ''), spec: { containers: [{ name: 'main', image: 'wherry-test/nosuch', imagePullPolicy: 'Never' }] } });
  const kubectl = of(newest);
  await until('it has ended', 60_000, async () => await kubectl.value('{.status.phase}', 'pod', 'ended') === 'Failed');
  assert.match(await kubectl.fails('exec', 'ended', '--', 'ls'), /cannot exec (in|into) a container in a completed pod|container not found \("main"\)/);
  assert.is(await kubectl.ok('logs', 'ended'), 'bye\n');
  // In any order: kubectl keeps the containers in a map.
  assert.equal((await kubectl.ok('logs', 'ended', '--all-containers', '--prefix')).split('\n').sort(), ['', '[pod/ended/first] from init', '[pod/ended/main] bye']);
  assert.match(await kubectl.fails('logs', 'ended', '-c', 'none'), /container none is not valid for pod ended/);
  assert.match(await kubectl.fails('get', '--raw', '/api/v1/namespaces/default/pods/ended/log?container=main&tailLines=-1'), /PodLogOptions "ended" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0/);
  assert.is(await kubectl.ok('logs', 'nowhere'), '');
  assert.match(await kubectl.fails('exec', 'nowhere', '--', 'ls'), /pod nowhere does not have a host assigned/);
  await until('its image is missed', 60_000, async () => (await kubectl.value('{.status.containerStatuses[0].state.waiting.reason}', 'pod', 'imageless')) === 'ErrImageNeverPull');
  assert.match(await kubectl.fails('logs', 'imageless'), /container "main" in pod "imageless" is waiting to start: ErrImageNeverPull/);
  assert.match(await kubectl.fails('exec', 'imageless', '--', 'ls'), /container not found \("main"\)/);
  await kubectl.ok('delete', 'pod', 'ended', 'nowhere', 'imageless', '--grace-period=1');
});

test('debug with a terminal beside another container', async () => {
  for (const name of clients.slice(1)) {
    const container = `tty-${clients.indexOf(name)}`;
    const { stdout } = await inTerminal(name, 'debug', '-it', 'web', '-q', `--image=${image}`, '--image-pull-policy=Never', '-c', container, '--target=main', '--', 'sh', '-c', 'sleep 3; stty size; ps -o args; exit 6');
    assert.match(stdout, /33 91\r\n/);
    assert.match(stdout, /httpd -p 8080/);
    await until('its end is told', 30_000, async () => await of(name).value(`{.status.ephemeralContainerStatuses[?(@.name=="${container}")].state.terminated.exitCode}`, 'pod', 'web') === '6');
  }
});

test.run();
