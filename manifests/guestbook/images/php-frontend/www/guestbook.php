<?php
// The classic endpoint: ?cmd=set&key=messages&value=... and ?cmd=get&key=messages, answers in JSON.
require '/srv/lib/guestbook.php';

function answer(int $status, array $body): never {
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    exit(json_encode($body, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
}

/** A request parameter, or an answer that says it is missing. */
function parameter(string $name): string {
    $value = $_REQUEST[$name] ?? null;
    return is_string($value) ? $value : answer(400, ['error' => "missing parameter: $name"]);
}

try {
    switch (parameter('cmd')) {
        case 'set':
            $key = parameter('key');
            $value = parameter('value');
            write(fn(Redis $redis) => $redis->set($key, $value));
            answer(200, ['message' => 'Updated']);
        case 'get':
            answer(200, ['data' => read(parameter('key')) ?? '']);
        default:
            answer(400, ['error' => 'cmd is get or set']);
    }
} catch (Unavailable $e) {
    answer(503, ['error' => $e->getMessage()]);
}
