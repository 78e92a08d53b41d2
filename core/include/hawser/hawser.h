/* hawser.h - everything. */
#ifndef HAWSER_HAWSER_H
#define HAWSER_HAWSER_H

#include <hawser/base.h>
#include <hawser/error.h>
#include <hawser/lease.h>
#include <hawser/loop.h>
#include <hawser/manager.h>
#include <hawser/message.h>
#include <hawser/metrics.h>
#include <hawser/operations.h>
#include <hawser/policy.h>
#include <hawser/request.h>
#include <hawser/retry.h>
#include <hawser/script.h>
#include <hawser/session.h>
#include <hawser/upstream.h>

#endif
