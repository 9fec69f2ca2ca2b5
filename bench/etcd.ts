import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killWithUs } from './cluster.ts';
import { bytesField, GrpcConnection, headersOf, numberField } from './grpc-load.ts';

/** One connection to etcd. */
export interface EtcdClient {
  /** Resolves when the transaction "put, if the key does not exist" is committed. */
  create(key: string, value: Buffer): Promise<void>;
  /** A linearizable read of a key that exists. */
  get(key: string): Promise<void>;
  close(): void;
}

/** An etcd of Debian's on loopback, on the same kind of disk as the master's store. */
export interface Etcd {
  client(): Promise<EtcdClient>;
  stop(): Promise<void>;
}

const port = 12379;
const txn = headersOf('/etcdserverpb.KV/Txn', `127.0.0.1:${port}`);
const range = headersOf('/etcdserverpb.KV/Range', `127.0.0.1:${port}`);

/** Starts etcd, installing Debian's package if it is missing. @throws when it cannot be had */
export async function startEtcd(): Promise<Etcd> {
  if (!existsSync('/usr/bin/etcd')) execFileSync('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', 'etcd-server'], { stdio: 'ignore', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  const directory = mkdtempSync(join(tmpdir(), 'etcd-bench-'));
  const url = `http://127.0.0.1:${port}`;
  const child: ChildProcess = spawn('/usr/bin/etcd', ['--data-dir', join(directory, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url, '--listen-peer-urls', `http://127.0.0.1:${port + 1}`, '--log-level', 'error'], { stdio: 'ignore' });
  const release = killWithUs(child);
  const stop = (): Promise<void> => new Promise((resolve) => {
    child.once('exit', () => { release(); rmSync(directory, { recursive: true, force: true }); resolve(); });
    child.kill('SIGKILL');
  });
  for (let tries = 0; ; tries++) {
    if (await fetch(`${url}/health`).then((answer) => answer.ok, () => false)) return { client: openClient, stop };
    if (tries > 100) { await stop(); throw new Error('etcd does not answer'); }
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

async function openClient(): Promise<EtcdClient> {
  const connection = await GrpcConnection.open(port);
  return {
    create: async (key, value) => {
      const answer = await connection.call(txn, createRequest(Buffer.from(key), value));
      if (!succeeded(answer)) throw new Error(`${key} exists`);
    },
    get: async (key) => {
      const answer = await connection.call(range, bytesField(1, Buffer.from(key)));
      if (answer.length < 1000) throw new Error(`etcd has no ${key}`);
    },
    close: () => connection.close(),
  };
}

/** TxnRequest { compare: [create_revision of key = 0], success: [put] }; EQUAL is 0 and left out, CREATE is target 1. */
function createRequest(key: Buffer, value: Buffer): Buffer {
  const compare = Buffer.concat([numberField(2, 1), bytesField(3, key), numberField(5, 0)]);
  const put = bytesField(2, Buffer.concat([bytesField(1, key), bytesField(2, value)]));
  return Buffer.concat([bytesField(1, compare), bytesField(2, put)]);
}

/** TxnResponse { header = 1, succeeded = 2 }. */
function succeeded(answer: Buffer): boolean {
  const afterHeader = 2 + answer[1]!;
  return answer[0] === 0x0a && answer[afterHeader] === 0x10 && answer[afterHeader + 1] === 1;
}
