import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from 'lmdb';
import { openLmdbStore } from '../master/store/lmdb.ts';
import type { Store } from '../master/store/store.ts';
import { inTurn, report } from './report.ts';

/**
 * The store against bare LMDB doing the least that could be called the same: one durable transaction per group with one
 * put per document, one lookup per read.
 */
const ROUNDS = 5;
const MS_PER_ROUND = 1000;
/** A pod as the API keeps it. */
const DOCUMENT = Buffer.alloc(2700, 'pod');
const READ_KEYS = 20_000;

type Measure = () => Promise<number>;

async function creates(store: Store, clients: number): Promise<number> {
  return perSecond(async (goOn) => {
    let done = 0;
    const client = async (): Promise<void> => {
      while (goOn()) {
        await store.write([{ type: 'put', key: newKey(), expect: 0, value: () => DOCUMENT }]);
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    return done;
  });
}

async function bareCreates(bare: Bare, group: number): Promise<number> {
  return perSecond(async (goOn) => {
    let done = 0;
    for (; goOn(); done += group) {
      bare.root.transactionSync(() => {
        for (let i = 0; i < group; i++) bare.table.putSync(newKey(), DOCUMENT);
      });
    }
    return done;
  });
}

/** Reads random keys of those that exist. */
async function gets(get: (key: string) => { length: number } | undefined): Promise<number> {
  return perSecond(async (goOn) => {
    let done = 0;
    for (; goOn(); done += 1000) {
      for (let i = 0; i < 1000; i++) {
        if (get(readKey(Math.floor(Math.random() * READ_KEYS)))?.length !== DOCUMENT.length) throw new Error('wrong value');
      }
    }
    return done;
  });
}

async function perSecond(work: (goOn: () => boolean) => Promise<number>): Promise<number> {
  const started = performance.now();
  const done = await work(() => performance.now() - started < MS_PER_ROUND);
  return (done * 1000) / (performance.now() - started);
}

async function claim(name: string, ours: Measure, bare: Measure): Promise<void> {
  const { value, baseline } = await inTurn(ROUNDS, ours, bare);
  report(name, value, 'per s', baseline);
}

const newKey = (): string => `/registry/pods/default/pod-${Math.random().toString(36).slice(2)}`;
const readKey = (i: number): string => `/registry/read/default/pod-${i}`;

type Bare = ReturnType<typeof openBare>;

function openBare(path: string) {
  const root = open({ path, overlappingSync: false });
  return { root, table: root.openDB<Uint8Array, string>({ name: 'documents', encoding: 'binary' }) };
}

/** Beside the sources and not in /tmp, which may be memory. */
async function scratch(): Promise<string> {
  await mkdir('.cache', { recursive: true });
  return mkdtemp(join('.cache', 'bench-store-'));
}

export async function bench(): Promise<void> {
  const directory = await scratch();
  const store = await openLmdbStore({ directory: join(directory, 'store') });
  const bare = openBare(join(directory, 'bare'));
  const all = Array.from({ length: READ_KEYS }, (_, i) => readKey(i));
  await store.write(all.map((key) => ({ type: 'put', key, expect: 0, value: () => DOCUMENT })));
  bare.root.transactionSync(() => all.forEach((key) => bare.table.putSync(key, DOCUMENT)));

  for (const clients of [1, 64, 1000]) await claim(`store.creates_${clients}`, () => creates(store, clients), () => bareCreates(bare, clients));
  await claim('store.get', () => gets((key) => store.get(key)?.bytes), () => gets((key) => bare.table.get(key)));

  await store.close();
  await bare.root.close();
  await rm(directory, { recursive: true });
}
