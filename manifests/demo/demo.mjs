#!/usr/bin/env node
// The guestbook on this host, from nothing but Node, npm, git and root. See `usage` for what it does.
// Plain JavaScript with built-in modules only: it runs before anything is installed.
import { execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { get } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const usage = `npm run demo              install what is missing, start a master and an agent, run the guestbook
npm run demo -- --down    remove everything that the demo made, and nothing else
npm run demo -- --help

State and logs: $WHERRY_DEMO_DIR (default /var/lib/wherry-demo). API port: $WHERRY_DEMO_PORT (default 6443).`;

const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = process.env.WHERRY_DEMO_DIR ?? '/var/lib/wherry-demo';
const port = Number(process.env.WHERRY_DEMO_PORT ?? 6443);
const stateFile = join(directory, 'demo.json');
const logFile = join(directory, 'wherry.log');
const clusterDir = join(directory, 'cluster');
const kubeconfig = join(clusterDir, 'master', 'admin.kubeconfig');
const manifests = join(root, 'manifests/guestbook');
const dockerScript = join(root, 'manifests/demo/docker.sh');
const imageScript = join(manifests, 'images/build.sh');
const images = ['debian:bookworm-slim', 'kubeguide/redis-master', 'kubeguide/guestbook-redis-slave', 'kubeguide/guestbook-php-frontend', 'wherry/pause:1'];

/** An error that one line explains. */
class DemoError extends Error {}

const started = Date.now();
const say = (text) => process.stdout.write(`${`${((Date.now() - started) / 1000).toFixed(1)}s`.padStart(7)}  ${text}\n`);
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

function run(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    execFile(file, args, { cwd: root, maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) => {
      if (error) reject(new DemoError(`${[file, ...args].join(' ')} failed: ${(stderr || stdout || error.message).trim().split('\n').slice(-3).join(' | ')}`));
      else resolve(stdout.trim());
    });
  });
}

/** Runs a script whose lines are worth seeing while it works. */
function runShowing(file, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    const show = (chunk) => { for (const line of chunk.toString().split('\n')) if (line.trim()) say(`  ${line.trim()}`); };
    child.stdout.on('data', show);
    child.stderr.on('data', (chunk) => { errors = (errors + chunk).slice(-2000); });
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new DemoError(errors.trim().split('\n').slice(-2).join(' | ') || `${file} ended with code ${code}`))));
  });
}

const readState = () => (existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : { pid: undefined, images: [] });
const writeState = (state) => writeFileSync(stateFile, JSON.stringify(state));

/** The demo's own process, if it still runs: a number may have been given to another program since. */
function livingPid(pid) {
  if (!pid) return undefined;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(clusterDir) ? pid : undefined;
  } catch {
    return undefined;
  }
}

// ---- up

function checkHost() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 15)) throw new DemoError(`Node ${process.versions.node} is too old: 20.15 or later is needed`);
  if (process.platform !== 'linux') throw new DemoError('the demo needs Linux');
  if (process.getuid?.() !== 0) throw new DemoError('the demo starts containers and sets a route: run it as root (sudo npm run demo)');
}

async function installPackages() {
  const installed = join(root, 'node_modules/.package-lock.json');
  const lock = join(root, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  say('installing npm packages');
  await run('npm', ['ci', '--no-audit', '--no-fund']);
}

const newest = (folder) => readdirSync(folder, { recursive: true }).reduce((latest, name) => (String(name).endsWith('.ts') ? Math.max(latest, statSync(join(folder, String(name))).mtimeMs) : latest), 0);

async function build() {
  const built = join(root, 'dist/master/main.js');
  const sources = Math.max(...['shared', 'master', 'agent'].map((name) => newest(join(root, name))));
  if (existsSync(built) && statSync(built).mtimeMs >= sources) return;
  say('building');
  await run('npm', ['run', '-s', 'build']);
}

async function existingImages() {
  const lines = (await run('docker', ['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n');
  return images.filter((name) => lines.includes(name.includes(':') ? name : `${name}:latest`));
}

async function prepareImages(state) {
  const before = await existingImages();
  say('guestbook images (the first time takes a few minutes)');
  await runShowing('bash', [imageScript]);
  state.images = [...new Set([...state.images, ...images.filter((name) => !before.includes(name))])];
  writeState(state);
}

async function startCluster(state) {
  if (livingPid(state.pid)) return say('master and agent already run');
  say('starting a master and an agent');
  const log = openSync(logFile, 'a');
  const offset = statSync(logFile).size;
  const child = spawn(process.execPath, [join(root, 'dist/master/main.js'), 'up', '--data-dir', clusterDir, '--port', String(port)], { cwd: root, detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.unref();
  state.pid = child.pid;
  writeState(state);
  let ended = false;
  child.on('exit', () => { ended = true; });
  for (const deadline = Date.now() + 60_000; ;) {
    if (await api('GET', '/readyz').then((answer) => answer.code === 200, () => false)) return;
    const lines = readFileSync(logFile, 'utf8').slice(offset).trim().split('\n');
    if (ended) throw new DemoError(`the master ended: ${lines.filter((line) => line.startsWith('wherry:')).at(-1) ?? lines.at(-1)} (log: ${logFile})`);
    if (Date.now() > deadline) throw new DemoError(`the master is not ready after 60 s (log: ${logFile})`);
    await sleep(200);
  }
}

function credentials() {
  const text = readFileSync(kubeconfig, 'utf8');
  const value = (key) => new RegExp(`${key}: (\\S+)`).exec(text)?.[1] ?? '';
  const pem = (key) => Buffer.from(value(key), 'base64').toString();
  return { server: value('server'), ca: pem('certificate-authority-data'), cert: pem('client-certificate-data'), key: pem('client-key-data') };
}

function api(method, path, body) {
  return new Promise((resolve, reject) => {
    const { server, ca, cert, key } = credentials();
    const headers = body === undefined ? {} : { 'content-type': 'application/apply-patch+yaml' };
    const call = request(new URL(path, server), { method, ca, cert, key, headers, timeout: 10_000 }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => { text += chunk; }).on('end', () => resolve({ code: answer.statusCode, text }));
    });
    call.on('error', reject).on('timeout', () => call.destroy(new Error('no answer within 10 s')));
    call.end(body);
  });
}

/** Server-side apply of every manifest, as `kubectl apply --server-side -f manifests/guestbook` does it. */
async function applyManifests() {
  say('applying manifests/guestbook');
  const plurals = { ReplicationController: 'replicationcontrollers', Service: 'services' };
  for (const file of readdirSync(manifests).filter((name) => name.endsWith('.yaml')).sort()) {
    const text = readFileSync(join(manifests, file), 'utf8');
    const kind = /^kind: (\w+)/m.exec(text)?.[1];
    const name = /^metadata:\n {2}name: (\S+)/m.exec(text)?.[1];
    const answer = await api('PATCH', `/api/v1/namespaces/default/${plurals[kind]}/${name}?fieldManager=wherry-demo&force=true`, text);
    if (answer.code >= 300) throw new DemoError(`${file}: ${JSON.parse(answer.text).message}`);
  }
}

async function waitForPods() {
  let shown = '';
  for (const deadline = Date.now() + 120_000; ;) {
    const { items } = JSON.parse((await api('GET', '/api/v1/namespaces/default/pods')).text);
    const ready = items.filter((pod) => pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'));
    const line = `pods ready: ${ready.length}/${items.length}`;
    if (line !== shown) say(shown = line);
    if (items.length >= 6 && ready.length === items.length) return;
    if (Date.now() > deadline) throw new DemoError(`not all pods are ready after 120 s: ${items.map((pod) => `${pod.metadata.name} ${why(pod)}`).join(', ')}`);
    await sleep(500);
  }
}

function why(pod) {
  const waiting = pod.status?.containerStatuses?.map((status) => status.state?.waiting?.reason).find(Boolean);
  const pending = pod.status?.conditions?.find((condition) => condition.type === 'PodScheduled' && condition.status === 'False');
  return waiting ?? pending?.message ?? pod.status?.phase;
}

const fetchPage = (url) => new Promise((resolve, reject) => {
  const call = get(url, { timeout: 5000 }, (answer) => {
    let text = '';
    answer.on('data', (chunk) => { text += chunk; }).on('end', () => resolve(text));
  });
  call.on('error', reject).on('timeout', () => call.destroy(new Error('no answer')));
});

async function waitForPage() {
  for (const deadline = Date.now() + 60_000; ;) {
    const text = await fetchPage('http://127.0.0.1:30001/').catch((error) => error.message);
    if (text.includes('hello')) return;
    if (Date.now() > deadline) throw new DemoError(`http://127.0.0.1:30001/ does not show the guestbook after 60 s: ${text.slice(0, 200)}`);
    await sleep(300);
  }
}

async function up() {
  checkHost();
  mkdirSync(directory, { recursive: true });
  const state = readState();
  await installPackages();
  await runShowing('bash', [dockerScript, 'ensure']);
  await build();
  await Promise.all([prepareImages(state), startCluster(state)]);
  await applyManifests();
  await waitForPods();
  await waitForPage();
  const address = new URL(credentials().server).hostname;
  process.stdout.write(`
The guestbook is up:  http://127.0.0.1:30001/   (from elsewhere: http://${address}:30001/)

Look around:          export KUBECONFIG=${kubeconfig}
                      kubectl get nodes,pods,services -o wide
Logs:                 ${logFile}
Stop and remove:      npm run demo -- --down
`);
}

// ---- down

async function down() {
  if (!existsSync(directory)) return say('nothing to remove');
  const state = readState();
  const pid = livingPid(state.pid);
  if (pid) {
    say('stopping master and agent');
    process.kill(pid, 'SIGTERM');
    for (const deadline = Date.now() + 20_000; livingPid(pid);) {
      if (Date.now() > deadline) process.kill(pid, 'SIGKILL');
      await sleep(100);
    }
  }
  if (await run('docker', ['version', '--format', '{{.Server.Version}}']).then(() => true, () => false)) await removeContainers(state);
  await removeRoute();
  await runShowing('bash', [dockerScript, 'down']);
  rmSync(directory, { recursive: true, force: true });
  say('done; packages that were installed (npm, docker.io) stay');
}

/** The containers that the demo's agent made: they carry its data directory as a label. */
async function removeContainers(state) {
  const ids = (await run('docker', ['ps', '-aq', '--filter', `label=io.wherry.owner=${join(clusterDir, 'agent')}`])).split('\n').filter(Boolean);
  if (ids.length > 0) {
    say(`removing ${ids.length} containers`);
    await run('docker', ['rm', '-f', ...ids]);
  }
  for (const image of [...state.images].reverse()) await run('docker', ['rmi', image]).catch((error) => say(`image ${image} stays: ${error.message}`));
}

async function removeRoute() {
  await run('ip', ['route', 'del', 'local', '10.96.0.0/16', 'dev', 'lo']).catch(() => undefined);
}

const [flag] = process.argv.slice(2);
try {
  if (flag === '--help') process.stdout.write(`${usage}\n`);
  else if (flag === '--down') await down();
  else if (flag === undefined) await up();
  else throw new DemoError(`unknown argument ${flag}\n${usage}`);
} catch (error) {
  process.stderr.write(`demo: ${error instanceof DemoError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
