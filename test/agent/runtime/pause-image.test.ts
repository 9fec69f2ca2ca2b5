import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { pauseBinaries } from '../../../agent/runtime/pause/binaries.ts'
import { tar } from '../../../agent/runtime/pause/tar.ts'
import { pauseImageName, pauseImageTar } from '../../../agent/runtime/pause-image.ts'

const arches = ['amd64', 'arm64', 'arm'] as const

/** A tar reader that shares no code with the writer. */
function untar(archive: Uint8Array): Map<string, { data: Buffer; mode: number }> {
  const bytes = Buffer.from(archive)
  const files = new Map<string, { data: Buffer; mode: number }>()
  for (let at = 0; bytes[at] !== 0; ) {
    const text = (from: number, to: number) => bytes.toString('latin1', at + from, at + to).replace(/[\0 ].*/s, '')
    const sum = bytes.subarray(at, at + 512).reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0)
    assert.is(parseInt(text(148, 156), 8), sum, `checksum of ${text(0, 100)}`)
    const size = parseInt(text(124, 136), 8)
    files.set(text(0, 100), { data: bytes.subarray(at + 512, at + 512 + size), mode: parseInt(text(100, 108), 8) })
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')

for (const arch of arches) {
  test(`${arch}: an image that docker load takes, with every digest right`, () => {
    const files = untar(pauseImageTar(arch))
    const [manifest] = JSON.parse(files.get('manifest.json')!.data.toString())
    assert.equal(manifest.RepoTags, [pauseImageName])
    const config = files.get(manifest.Config)!.data
    assert.is(manifest.Config, `${sha256(config)}.json`)
    const parsed = JSON.parse(config.toString())
    assert.is(parsed.architecture, arch)
    assert.equal(parsed.config.Entrypoint, ['/pause'])
    const layer = files.get(manifest.Layers[0])!.data
    assert.equal(parsed.rootfs.diff_ids, [`sha256:${sha256(layer)}`])
    const pause = untar(layer).get('pause')!
    assert.is(pause.mode, 0o755)
    assert.ok(pause.data.length < 1024, `${pause.data.length} bytes`)
  })

  test(`${arch}: a static executable for the right machine`, () => {
    const elf = Buffer.from(pauseBinaries[arch], 'base64')
    assert.is(elf.toString('latin1', 0, 4), '\x7fELF')
    assert.is(elf.readUInt16LE(16), 2, 'ET_EXEC')
    assert.is(elf.readUInt16LE(18), { amd64: 62, arm64: 183, arm: 40 }[arch])
  })
}

test('the same bytes each time', () => {
  assert.equal(pauseImageTar('amd64'), pauseImageTar('amd64'))
})

test('GNU tar reads what tar() writes, sizes around a block included', () => {
  const entries = [0, 1, 511, 512, 513].map((size) => ({ name: `f${size}`, data: Buffer.alloc(size, 'x') }))
  const listed = spawnSync('tar', ['-tvf', '-'], { input: tar(entries) })
  assert.is(listed.status, 0, listed.stderr.toString())
  const sizes = listed.stdout.toString().trim().split('\n').map((line) => Number(line.split(/\s+/)[2]))
  assert.equal(sizes, [0, 1, 511, 512, 513])
  assert.throws(() => tar([{ name: 'n'.repeat(101), data: Buffer.alloc(0) }]), RangeError)
})

/** How to start an executable of that architecture here: directly, by qemu-user, or not at all. */
function runner(arch: (typeof arches)[number]): string[] | undefined {
  if (process.platform !== 'linux') return undefined
  if ({ x64: 'amd64', arm64: 'arm64', arm: 'arm' }[process.arch as string] === arch) return []
  const qemu = `qemu-${{ amd64: 'x86_64', arm64: 'aarch64', arm: 'arm' }[arch]}-static`
  return spawnSync(qemu, ['--version']).status === 0 ? [qemu] : undefined
}

for (const arch of arches) {
  const prefix = runner(arch)
  if (!prefix) continue
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${arch}: sleeps on, survives stop and continue, and exits 0 at ${signal}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'pause-'))
      const program = join(folder, 'pause')
      writeFileSync(program, Buffer.from(pauseBinaries[arch], 'base64'), { mode: 0o755 })
      const [command, ...args] = [...prefix, program]
      const child = spawn(command!, args, { stdio: 'ignore' })
      try {
        const exit = once(child, 'exit')
        await sleep(300)
        child.kill('SIGSTOP')
        await sleep(50)
        child.kill('SIGCONT')
        child.kill('SIGCHLD')
        await sleep(100)
        assert.is(child.exitCode, null, 'it still runs')
        child.kill(signal)
        const [code] = await Promise.race([exit, sleep(5000, ['still running after 5 s'])])
        assert.is(code, 0)
      } finally {
        child.kill('SIGKILL')
        rmSync(folder, { recursive: true })
      }
    })
  }
}

test.run()
