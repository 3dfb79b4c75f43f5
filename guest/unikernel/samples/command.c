/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

/* Up to the next blank; what is behind that is left. */
static struct store_text take_word(struct store_text *line)
{
	struct store_text word = {line->data, 0};

	while (word.len < line->len && word.data[word.len] != ' ')
		word.len++;
	line->data += word.len;
	line->len -= word.len;
	if (line->len) {
		line->data++;
		line->len--;
	}
	return word;
}

static bool is(struct store_text word, const char *text)
{
	return word.len == strlen(text) && !memcmp(word.data, text, word.len);
}

static size_t say_result(char *reply, enum store_result result)
{
	if (result == STORE_OK)
		return format(reply, COMMAND_REPLY, "OK\n");
	if (result == STORE_NONE)
		return format(reply, COMMAND_REPLY, "NONE\n");
	return format(reply, COMMAND_REPLY, "ERROR %s\n", store_error(result));
}

/* A value may hold any byte, so it is no string. */
static size_t say_text(char *reply, const char *word, struct store_text text)
{
	size_t len = strlen(word);

	memcpy(reply, word, len);
	memcpy(reply + len, text.data, text.len);
	reply[len + text.len] = '\n';
	return len + text.len + 1;
}

static size_t run_get(struct store *s, struct store_text key, char *reply)
{
	struct store_text value;
	enum store_result result = store_get(s, key, &value);

	return result == STORE_OK ? say_text(reply, "VALUE ", value)
				  : say_result(reply, result);
}

size_t command_run(struct store *s, struct store_text line, char *reply,
		   struct command_list *list)
{
	struct store_text word, key;

	if (line.len && line.data[line.len - 1] == '\r')
		line.len--;
	word = take_word(&line);
	if (is(word, "set")) {
		key = take_word(&line);
		return say_result(reply, store_set(s, key, line));
	}
	if (is(word, "keys") && !line.len) {
		*list = (struct command_list){true, 0};
		return 0;
	}
	if (is(word, "count") && !line.len)
		return format(reply, COMMAND_REPLY, "COUNT %u\n", s->count);
	key = take_word(&line);
	if (is(word, "get") && !line.len)
		return run_get(s, key, reply);
	if (is(word, "del") && !line.len)
		return say_result(reply, store_delete(s, key));
	return format(reply, COMMAND_REPLY,
		      "ERROR set KEY VALUE, get KEY, del KEY, count, keys\n");
}

size_t command_next(struct store *s, struct command_list *list, char *reply)
{
	struct store_text key;
	enum store_result result = store_next(s, &list->cursor, &key);

	if (result == STORE_OK)
		return say_text(reply, "KEY ", key);
	list->active = false;
	return result == STORE_NONE ? format(reply, COMMAND_REPLY, "END\n")
				    : say_result(reply, result);
}
