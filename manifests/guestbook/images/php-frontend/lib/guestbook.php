<?php
// What the page and the classic endpoint share: how to reach redis, and how entries lie in it.

const CONNECT_SECONDS = 1.5;
const READ_SECONDS = 1.5;
const ENTRIES_SHOWN = 100;
const ENTRY_LENGTH = 280;
const KEY = 'messages';

/** Thrown with a sentence that a visitor may read. */
class Unavailable extends Exception {}

/**
 * A connection to the service redis-master or redis-slave. Its address is in the variables that Kubernetes sets when
 * GET_HOSTS_FROM=env, and otherwise (or when the service came after this pod) its DNS name.
 */
function connect(string $service): Redis {
    $prefix = strtoupper(strtr($service, '-', '_')) . '_SERVICE_';
    $env = getenv('GET_HOSTS_FROM') === 'env';
    $host = ($env ? getenv($prefix . 'HOST') : false) ?: $service;
    $port = (int) (($env ? getenv($prefix . 'PORT') : false) ?: 6379);
    $redis = new Redis();
    try {
        // connect() also warns, in the log only: the exception says the same.
        if (!@$redis->connect($host, $port, CONNECT_SECONDS, null, 0, READ_SECONDS)) throw new RedisException('no connection');
    } catch (RedisException $e) {
        throw new Unavailable("$service ($host:$port) does not answer: " . $e->getMessage());
    }
    return $redis;
}

/** One value from a replica; null when there is none. */
function read(string $key): ?string {
    try {
        $value = connect('redis-slave')->get($key);
    } catch (RedisException $e) {
        throw new Unavailable('redis-slave stopped answering: ' . $e->getMessage());
    }
    return $value === false ? null : $value;
}

/** Runs one write on the master. */
function write(callable $command): void {
    try {
        $done = $command($redis = connect('redis-master'));
    } catch (RedisException $e) {
        throw new Unavailable('redis-master stopped answering: ' . $e->getMessage());
    }
    if ($done === false) throw new Unavailable('redis-master refused to write: ' . $redis->getLastError());
}

/**
 * The entries in the stored text, newest last. The page appends "\n" and a line per entry, so that concurrent visitors
 * lose nothing. Clients of the classic endpoint keep all entries in one line instead, each after a comma.
 */
function entries(?string $stored): array {
    $entries = [];
    foreach (explode("\n", $stored ?? '') as $line) {
        $entries = array_merge($entries, str_starts_with($line, ',') ? explode(',', $line) : [$line]);
    }
    return array_slice(array_values(array_filter(array_map('trim', $entries), 'strlen')), -ENTRIES_SHOWN);
}

/** A visitor's text as one line of valid UTF-8; empty when nothing is left. */
function clean(string $text): string {
    $text = iconv('UTF-8', 'UTF-8//IGNORE', $text) ?: '';
    $text = trim(preg_replace('/[\s\p{C}]+/u', ' ', $text) ?? '');
    return iconv_substr(ltrim($text, ', '), 0, ENTRY_LENGTH) ?: '';
}

function html(string $text): string {
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
}
