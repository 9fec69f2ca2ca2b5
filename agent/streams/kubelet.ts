import { createServer, type ServerResponse } from 'node:http';
import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { StreamSocket } from '../../shared/stream-socket.ts';
import { summary, type SummaryUse } from './summary.ts';

export interface KubeletOptions {
  readonly nodeName: string;
  /** Ms since 1970. */
  readonly now: () => number;
  /** Pods of this node with the status last reported. */
  readonly pods: () => Iterable<{ readonly pod: Pod; readonly status: PodStatus | undefined }>;
  /** What the node and its containers use now. */
  readonly use: () => Promise<SummaryUse>;
}

/** Paths of the kubelet that are served elsewhere, or that a node of containers by Docker has nothing for. */
const elsewhere: Readonly<Record<string, string>> = {
  attach: 'pods/NAME/attach', containerLogs: 'pods/NAME/log', exec: 'pods/NAME/exec', portForward: 'pods/NAME/portforward', run: 'pods/NAME/exec',
  logs: 'the host\'s own journal', configz: 'the agent\'s own flags',
};

/** Serves HTTP over `stream` as a kubelet does; only what reads. Yields nothing: the connection answers by itself. Ends with it. */
export async function* kubelet(stream: ByteStream, options: KubeletOptions | undefined, signal: AbortSignal): AsyncIterable<Uint8Array> {
  if (!options) throw new StreamReset(501, 'this agent serves no paths of its own');
  const socket = new StreamSocket(stream);
  const closed = new Promise<void>((resolve) => { socket.once('close', () => resolve()); });
  const stop = (): void => { socket.destroy(); };
  socket.on('error', stop);
  signal.addEventListener('abort', stop, { once: true });
  const server = createServer((req, res) => {
    void answer(req.method ?? '', req.url ?? '/', res, options).catch((error: Error) => sendText(res, 500, error.message));
  });
  server.emit('connection', socket);
  await closed;
  signal.removeEventListener('abort', stop);
}

async function answer(method: string, url: string, res: ServerResponse, options: KubeletOptions): Promise<void> {
  const path = url.split('?')[0]!;
  const [first = ''] = path.split('/').filter(Boolean);
  const known = paths[path.length > 1 ? path.replace(/\/$/, '') : path];
  if (!known) return Object.hasOwn(elsewhere, first) ? sendText(res, 501, `/${first} is not served here: see ${elsewhere[first]}`) : sendText(res, 404, '404 page not found');
  if (method !== 'GET' && method !== 'HEAD') return sendText(res, 405, '405: Method Not Allowed');
  await known(res, options);
}

const healthy = async (res: ServerResponse): Promise<void> => sendText(res, 200, 'ok', '');

const paths: Readonly<Record<string, (res: ServerResponse, options: KubeletOptions) => Promise<void>>> = {
  '/healthz': healthy, '/healthz/ping': healthy, '/healthz/log': healthy,
  '/pods': async (res, { pods }) => sendJson(res, podList(pods(), () => true)),
  '/runningpods': async (res, { pods }) => sendJson(res, podList(pods(), (status) => status?.phase === 'Running')),
  '/stats/summary': async (res, { use, nodeName, now, pods }) => sendJson(res, summary(await use(), [...pods()], nodeName, now())),
};

function podList(all: ReturnType<KubeletOptions['pods']>, wanted: (status: PodStatus | undefined) => boolean): object {
  const items = [...all].filter(({ status }) => wanted(status)).map(({ pod, status }) => ({ ...pod, ...(status ? { status } : {}) }));
  return { kind: 'PodList', apiVersion: 'v1', metadata: {}, items };
}

function sendJson(res: ServerResponse, value: object): void {
  send(res, 200, 'application/json', JSON.stringify(value));
}

const sendText = (res: ServerResponse, code: number, text: string, end = '\n'): void => send(res, code, 'text/plain; charset=utf-8', text + end);

function send(res: ServerResponse, code: number, type: string, body: string): void {
  res.writeHead(code, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  res.end(body);
}
