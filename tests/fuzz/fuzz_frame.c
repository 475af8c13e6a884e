/* One message of Nomad's: it is data in the message's own memory, or an error of the right kind. */
#include "fuzz.h"

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(freep) char *text = xmalloc(n);
	struct err e = ERR_INIT;
	struct frame f;

	if (n)
		memcpy(text, data, n);
	if (frame_decode(text, n, &f, &e) < 0) {
		HOLDS(e.kind == ERR_REMOTE && e.msg);
		err_clear(&e);
		return 0;
	}
	HOLDS(f.exit_code >= 0 && f.exit_code <= 255 && (f.exited || f.exit_code == 0));
	for (int i = 0; i < FRAME_STREAMS; i++) {
		const struct frame none = {0};

		HOLDS(f.out[i].len <= n && (f.out[i].data || f.out[i].len == none.out[i].len));
		if (f.out[i].len)
			HOLDS(f.out[i].data >= text && f.out[i].data + f.out[i].len <= text + n);
	}
	return 0;
}
