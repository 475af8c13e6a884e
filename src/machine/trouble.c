#include "clock.h"
#include "log.h"
#include "machine_private.h"

#define TROUBLE_MS 30000 /* how long a server that does not answer, or answers 5xx, is asked again */
#define PAUSE_MS   500   /* before it is */

bool trouble_passes(struct machine *m, int64_t *since, struct err *e)
{
	bool server = e->kind == ERR_REMOTE && (e->status == 429 || e->status >= 500);

	if (e->kind != ERR_CONNECT && e->kind != ERR_TIMEOUT && !server)
		return false;
	if (!*since) {
		*since = clock_ms();
		log_warn("%s; asking again for up to %d s", e->msg, TROUBLE_MS / 1000);
	}
	if (clock_ms() - *since > TROUBLE_MS)
		return false;

	err_clear(e);
	return http_wait(nomad_http(m->nomad), PAUSE_MS, e) == 0;
}
