<?php
require '/srv/lib/guestbook.php';

$greeting = 'hello,world!';
$error = null;
$entries = [];
$draft = '';

try {
    if ($_SERVER['REQUEST_METHOD'] === 'POST') {
        $draft = clean(is_string($_POST['message'] ?? null) ? $_POST['message'] : '');
        if ($draft !== '') write(fn(Redis $redis) => $redis->append(KEY, "\n$draft"));
        // Back to the page by GET, so that a reload does not add the entry again.
        header('Location: ./', true, 303);
        exit;
    }
    $entries = entries(read(KEY));
} catch (Unavailable $e) {
    $error = $e->getMessage();
    http_response_code(503);
    header('Retry-After: 5');
}
header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store');
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
  <h1>Guestbook</h1>
<?php if ($error !== null): ?>
  <p class="error" role="alert"><strong>The guestbook's store is not available.</strong> <?= html($error) ?></p>
<?php endif ?>
  <form method="post" action="./">
    <input name="message" aria-label="Message" placeholder="Leave a message" maxlength="<?= ENTRY_LENGTH ?>" value="<?= html($draft) ?>" required autofocus autocomplete="off">
    <button>Submit</button>
  </form>
  <ul id="messages">
<?php foreach (array_reverse($entries) as $entry): ?>
    <li><?= html($entry) ?></li>
<?php endforeach ?>
    <li class="greeting"><?= html($greeting) ?></li>
  </ul>
  <footer>served by <?= html(gethostname() ?: 'unknown') ?></footer>
</main>
</body>
</html>
