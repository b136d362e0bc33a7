/* By PAM. As PostgreSQL does it: the password answers every question that is not to be shown, other
 * questions end the login; the account is checked, and neither session nor credentials are opened. */
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

struct talk {
    const struct weir_question *question;
    char said[512]; /* what PAM had to say */
};

static void note(struct talk *talk, const char *text)
{
    size_t used = strlen(talk->said);
    if (text != NULL && *text != '\0')
        snprintf(talk->said + used, sizeof(talk->said) - used, "; %s", text);
}

static void free_replies(struct pam_response *replies, int count)
{
    for (int i = 0; i < count; i++) {
        if (replies[i].resp != NULL)
            weir_wipe(replies[i].resp, strlen(replies[i].resp));
        free(replies[i].resp);
    }
    free(replies);
}

/* The replies become PAM's. */
static int converse(int count, const struct pam_message **messages, struct pam_response **replies,
                    void *context)
{
    struct talk *talk = context;
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *made = weir_alloc((size_t)count * sizeof(*made));
    for (int i = 0; i < count; i++) {
        switch (messages[i]->msg_style) {
        case PAM_PROMPT_ECHO_OFF:
            made[i].resp = weir_strdup(talk->question->password);
            break;
        case PAM_ERROR_MSG:
        case PAM_TEXT_INFO:
            note(talk, messages[i]->msg);
            made[i].resp = weir_strdup("");
            break;
        default:
            note(talk, "PAM asked for something else than a password");
            free_replies(made, count);
            return PAM_CONV_ERR;
        }
    }
    *replies = made;
    return PAM_SUCCESS;
}

static enum weir_verdict verdict_of(int status)
{
    switch (status) {
    case PAM_SUCCESS:
        return WEIR_VERDICT_YES;
    case PAM_AUTH_ERR:
    case PAM_PERM_DENIED:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_AUTHTOK_EXPIRED:
        return WEIR_VERDICT_NO;
    default:
        return WEIR_VERDICT_TROUBLE;
    }
}

static int set_items(pam_handle_t *pam, const struct weir_question *question)
{
    int status = pam_set_item(pam, PAM_USER, question->user);
    if (status == PAM_SUCCESS && question->peer[0] != '\0')
        status = pam_set_item(pam, PAM_RHOST, question->peer);
    return status;
}

/* `step` is what failed. */
static int run(pam_handle_t *pam, const struct weir_question *question, const char **step)
{
    *step = "pam_set_item";
    int status = set_items(pam, question);
    if (status != PAM_SUCCESS)
        return status;
    *step = "pam_authenticate";
    status = pam_authenticate(pam, 0);
    if (status != PAM_SUCCESS)
        return status;
    *step = "pam_acct_mgmt";
    return pam_acct_mgmt(pam, 0);
}

void pam_judge(const struct weir_question *question, struct finding *finding)
{
    struct talk talk = {.question = question};
    const struct pam_conv conversation = {.conv = converse, .appdata_ptr = &talk};
    const char *service = option_of(question, "pamservice");
    const char *step = "pam_start";
    pam_handle_t *pam = NULL;
    if (service == NULL || *service == '\0') {
        finding_set(finding, WEIR_VERDICT_TROUBLE, "no PAM service is named");
        return;
    }
    int status = pam_start(service, question->user, &conversation, &pam);
    if (status == PAM_SUCCESS)
        status = run(pam, question, &step);
    enum weir_verdict verdict = verdict_of(status);
    if (verdict == WEIR_VERDICT_YES)
        finding_set(finding, verdict, "PAM service \"%s\"%s", service, talk.said);
    else
        finding_set(finding, verdict, "PAM service \"%s\": %s: %s%s", service, step,
                    pam_strerror(pam, status), talk.said);
    if (pam != NULL)
        pam_end(pam, status);
}
